"""How the report of a crawl looks: its style sheet, in the page itself.

A decision module: one text. No font, picture or script from elsewhere.
"""

from typing import Final

CSS: Final = """
:root {
  color-scheme: light dark;
  --page: #f6f6f4; --card: #ffffff; --ink: #1b1d21; --soft: #666b73; --line: #e4e4e0;
  --grid: #ececea; --main: #2a69c9; --wash: #2a69c926; --good: #24834f; --warn: #a96a10;
  --bad: #c23b33; --bad-wash: #c23b3333;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #121316; --card: #1b1d21; --ink: #e9e9e6; --soft: #9ba1a9; --line: #2d3036;
    --grid: #26292e; --main: #74a7f7; --wash: #74a7f72e; --good: #57bd86; --warn: #dba94e;
    --bad: #f1786f; --bad-wash: #f1786f3d;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 2.5rem 1.25rem 4rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  -webkit-text-size-adjust: 100%;
}
main, header, footer { max-width: 66rem; margin: 0 auto; }
header { margin-bottom: 1.75rem; }
h1 {
  font-size: 1.7rem; line-height: 1.2; letter-spacing: -.015em; margin: 0;
  overflow-wrap: anywhere;
}
h2 { font-size: .95rem; font-weight: 650; margin: 0 0 .9rem; }
.title { display: flex; flex-wrap: wrap; gap: .5rem .9rem; align-items: center; }
.phase {
  font-size: .8rem; font-weight: 600; padding: .15rem .7rem; border-radius: 1rem;
  border: 1px solid currentColor;
}
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.soft, .note { color: var(--soft); }
.note { font-size: .85rem; margin: .8rem 0 0; }
header p { margin: .45rem 0 0; overflow-wrap: anywhere; }
.tiles {
  display: flex; flex-wrap: wrap; gap: 1px; background: var(--line);
  border: 1px solid var(--line); border-radius: .7rem; overflow: hidden; margin: 0 0 1rem;
}
.tiles div { flex: 1 0 8.6rem; background: var(--card); padding: .9rem 1.1rem; }
.tiles dt { color: var(--soft); font-size: .82rem; }
.tiles dd {
  margin: .1rem 0 0; font-size: 1.45rem; font-weight: 600; letter-spacing: -.01em;
  line-height: 1.25;
}
.tiles small {
  display: block; font-size: .8rem; font-weight: 400; color: var(--soft); letter-spacing: 0;
}
.cards { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1rem; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: .7rem;
  padding: 1.1rem 1.25rem 1.2rem; min-width: 0;
}
.wide { grid-column: 1 / -1; }
@media (max-width: 46rem) {
  body { padding: 1.5rem .75rem 3rem; }
  .cards { grid-template-columns: minmax(0, 1fr); }
  section { padding: 1rem; }
  .tiles div { flex-basis: 45%; }
}
.plot { display: grid; grid-template-columns: auto minmax(0, 1fr); column-gap: .6rem; }
.plot svg { display: block; width: 100%; overflow: visible; }
.low { height: 11rem; } .high { height: 14rem; }
.ys {
  display: flex; flex-direction: column-reverse; justify-content: space-between; text-align: right;
  margin: -.6rem 0; line-height: 1.2rem;
}
.ys, .xs { font-size: .76rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.xs { grid-column: 2; position: relative; height: 1.2rem; margin-top: .35rem; }
.xs span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.xs span[style="left:0.00%"] { transform: none; }
.xs span[style="left:100.00%"] { transform: translateX(-100%); }
.grid { stroke: var(--grid); stroke-width: 1; vector-effect: non-scaling-stroke; }
.area { fill: var(--wash); } .area-bad { fill: var(--bad-wash); }
.edge {
  fill: none; stroke: var(--main); stroke-width: 1.75; stroke-linejoin: round;
  vector-effect: non-scaling-stroke;
}
.edge-bad {
  fill: none; stroke: var(--bad); stroke-width: 1.75; stroke-linejoin: round;
  vector-effect: non-scaling-stroke;
}
.hit { fill: transparent; } .hit:hover { fill: var(--wash); }
.column { fill: var(--main); } .column:hover { fill: var(--ink); }
.legend {
  display: flex; gap: 1.1rem; font-size: .82rem; color: var(--soft); margin: -.4rem 0 .9rem;
}
.legend i {
  display: inline-block; width: .7rem; height: .7rem; border-radius: .2rem; margin-right: .4rem;
  background: var(--main);
}
.legend .failed { background: var(--bad); }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th {
  text-align: left; font-weight: 500; color: var(--soft); font-size: .78rem;
  padding: 0 0 .35rem .8rem; vertical-align: bottom;
}
td {
  padding: .28rem 0 .28rem .8rem; border-top: 1px solid var(--grid); vertical-align: top;
  overflow-wrap: anywhere;
}
th:first-child, td:first-child { padding-left: 0; }
.n {
  text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap;
  overflow-wrap: normal;
}
.bars td { position: relative; }
.bars .bar { width: 34%; padding-top: .58rem; }
.bars .bar span {
  display: block; height: .5rem; min-width: 2px; border-radius: 0 .25rem .25rem 0;
  background: var(--main);
}
.bars .good span { background: var(--good); } .bars .warn span { background: var(--warn); }
.bars .bad span { background: var(--bad); }
.scroll { max-height: 25rem; overflow: auto; }
.settings {
  display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .3rem 1.2rem; margin: 0;
  font-size: .88rem;
}
.settings dt { color: var(--soft); }
.settings dd {
  margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, "DejaVu Sans Mono", monospace;
  font-size: .82rem;
}
footer { margin-top: 1.5rem; color: var(--soft); font-size: .82rem; }
@media (max-width: 30rem) {
  .bars .bar { width: 22%; }
  .bars .soft, .bars th:last-child { display: none; }
}
@media print {
  body { background: none; padding: 0; }
  .scroll { max-height: none; }
  section { break-inside: avoid; }
}
"""
