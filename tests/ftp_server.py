"""An FTP server on loopback, as much of RFC 959 as a download needs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

Reply = Callable[[str], Awaitable[None]]


class FtpServer:
    """Serves `files`, "/path" -> content; a folder is the start of a path. Notes all commands.

    `users` may log in. A file whose content is None answers RETR and then sends nothing.
    """

    def __init__(self, files: Mapping[str, bytes | None], users: Mapping[str, str]) -> None:
        self.files = files
        self.users = users
        self.commands: list[str] = []
        self.writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        with suppress(ConnectionError):
            await Session(self, writer).run(reader)
        await self.finish(writer)

    async def finish(self, writer: asyncio.StreamWriter) -> None:
        """Close a connection and see it closed."""
        self.writers.discard(writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


class Session:
    def __init__(self, server: FtpServer, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.writer = writer
        self.user = ""
        self.folder = "/"
        self.listener: asyncio.Server | None = None
        self.accepted: asyncio.Future[asyncio.StreamWriter] | None = None

    async def run(self, reader: asyncio.StreamReader) -> None:
        # More than one line, and one that looks like a header field.
        await self.reply("220-Welcome: to the tests\r\n220 ready")
        while line := await reader.readline():
            text = line.decode().rstrip("\r\n")
            self.server.commands.append(text)
            command, _, argument = text.partition(" ")
            if command == "QUIT":
                break
            await self.answer(command, argument)
        if self.listener is not None:
            self.listener.close()

    async def reply(self, text: str) -> None:
        self.writer.write(text.encode() + b"\r\n")
        await self.writer.drain()

    async def answer(self, command: str, argument: str) -> None:
        path = argument if argument.startswith("/") else self.folder.rstrip("/") + "/" + argument
        files = self.server.files
        match command:
            case "USER":
                self.user = argument
                await self.reply("331 password?")
            case "PASS":
                good = self.server.users.get(self.user) == argument
                await self.reply("230 hello" if good else "530 no")
            case "PWD":
                await self.reply('257 "/"')
            case "TYPE":
                await self.reply("200 ok")
            case "CWD":
                inside = path.rstrip("/") + "/"
                if any(name.startswith(inside) for name in files):
                    self.folder = path
                    await self.reply("250 ok")
                else:
                    await self.reply("550 no such folder")
            case "EPSV":
                await self.listen()
            case "SIZE" if path in files:
                content = files[path]
                await self.reply(f"213 {5 if content is None else len(content)}")
            case "RETR" if path in files:
                await self.send(files[path])
            case "LIST":
                inside = self.folder.rstrip("/") + "/"
                names = [name.removeprefix(inside) for name in files if name.startswith(inside)]
                await self.send("".join(name + "\r\n" for name in names).encode())
            case "SIZE" | "RETR":
                await self.reply("550 no such file")
            case _:
                await self.reply("502 not here")

    async def listen(self) -> None:
        accepted = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.server.writers.add(writer)
            accepted.set_result(writer)

        self.accepted = accepted
        self.listener = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = self.listener.sockets[0].getsockname()[1]
        await self.reply(f"229 here (|||{port}|)")

    async def send(self, content: bytes | None) -> None:
        assert self.accepted is not None
        assert self.listener is not None
        await self.reply("150 coming")
        data = await self.accepted
        self.listener.close()
        if content is None:
            return  # and never says that it was all
        data.write(content)
        with suppress(ConnectionError):
            await data.drain()
        await self.server.finish(data)
        await self.reply("226 done")


@asynccontextmanager
async def ftp_server(
    files: Mapping[str, bytes | None], users: Mapping[str, str]
) -> AsyncIterator[FtpServer]:
    """A running server; all its connections end with it."""
    server = FtpServer(files, users)
    sessions: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.create_task(server.serve(reader, writer))
        sessions.add(session)
        session.add_done_callback(sessions.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for writer in server.writers:
            writer.transport.abort()
        await asyncio.gather(*sessions)
        for writer in list(server.writers):
            await server.finish(writer)
