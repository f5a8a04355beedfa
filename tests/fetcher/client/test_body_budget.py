import pytest

from fetcher.client.body_budget import Budget


class Bodies:
    """A holder with bodies of these sizes, counted by the budget."""

    def __init__(self, budget: Budget, *sizes: int) -> None:
        self.budget = budget
        self.sizes = list(sizes)
        for size in sizes:
            budget.hold(size)
        budget.holders.append(self)

    @property
    def largest_body(self) -> int:
        return max(self.sizes, default=0)

    def end_largest(self) -> None:
        size = self.largest_body
        self.sizes.remove(size)
        self.budget.release(size)


@pytest.mark.parametrize(
    ("limit", "held", "is_tight", "is_spent"),
    [
        (100, 0, False, False),
        (100, 50, False, False),
        (100, 51, True, False),
        (100, 99, True, False),
        (100, 100, True, False),
        (100, 101, True, True),
        (1, 1, True, False),
        (1, 2, True, True),
        (0, 0, False, False),
        (0, 10**12, False, False),
    ],
)
def test_above_half_it_is_tight_and_above_all_it_is_spent(limit, held, is_tight, is_spent):
    budget = Budget(limit)
    assert budget.hold(held) is not is_spent
    assert (budget.is_tight, budget.is_spent) == (is_tight, is_spent)
    budget.release(held)
    assert (budget.held, budget.is_tight, budget.is_spent) == (0, False, False)


def test_without_a_limit_bytes_are_counted_all_the_same():
    budget = Budget()
    assert budget.hold(7) and budget.hold(8)
    assert budget.held == 15


def test_the_largest_body_of_all_has_to_go_until_the_rest_fits():
    budget = Budget(100)
    first, second = Bodies(budget, 10, 60, 30), Bodies(budget, 40, 50)
    ended = []
    while (holder := budget.next_to_end()) is not None:
        ended.append((holder, holder.largest_body))
        holder.end_largest()
    assert ended == [(first, 60), (second, 50)]
    assert (budget.held, first.sizes, second.sizes) == (80, [10, 30], [40])


def test_nobody_has_to_go_while_there_is_room():
    budget = Budget(100)
    Bodies(budget, 60, 40)
    assert budget.next_to_end() is None


@pytest.mark.parametrize("holders", [0, 1])
def test_nobody_has_to_go_where_nobody_could_give_anything_up(holders):
    budget = Budget(100)
    for _ in range(holders):
        Bodies(budget)
    budget.hold(101)  # by one that is no holder
    assert budget.next_to_end() is None
