"""A tool call that writes a file, followed while it comes: its path is checked first, its content is shown as it grows.

It replaces what the accumulator of anthropic 2.14 does for each delta of a call: all of its arguments so far are parsed
again, as often as there are deltas; an unfinished string looks like a whole one; and whoever asks for `content` gets it
once more from its start. Here it is `written`, 13 lines, and each
character is read once.

Run it: `python examples/live_tool_arguments.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sansio_step import Message, ToolUseBlock, Usage, encode_event, iter_events, message_events


def written(chunks: Iterable[bytes], allow: Callable[[str], bool]) -> Iterator[str]:
    """The content of the file that a call of `write_file` writes, piece by piece.

    Raises PermissionError for a path that `allow` refuses, before anything after it is read; and what the stream's
    `result()` would, if it breaks off.
    """
    with iter_events(chunks) as reader:  # leaving it closes the response, so that a refusal ends the call
        for _ in reader:
            for delta in reader.tool_input:
                if delta.kind == "string" and delta.path == ("path",) and not allow(delta.value):
                    raise PermissionError(delta.value)
                if delta.kind == "piece" and delta.path == ("content",):
                    yield delta.text


def main() -> None:
    arguments = (
        '{"path": "haiku.txt", "content": "An old silent pond \\u2014\\nA frog jumps into the pond.\\n\\ud83d\\udc38"}'
    )
    message = Message(
        id="msg_1",
        role="assistant",
        model="m",
        content=[ToolUseBlock("toolu_1", "write_file", input_json=arguments)],
        stop_reason="tool_use",
        usage=Usage(input_tokens=12, output_tokens=50),
    )
    chunks = [encode_event(event) for event in message_events(message, piece=5)]
    for piece in written(chunks, lambda path: not path.startswith("/")):
        print(piece, end="", flush=True)
    print()
    try:
        list(written(chunks, lambda path: path == "notes.txt"))
    except PermissionError as refused:
        print("refused:", refused)


if __name__ == "__main__":
    main()
