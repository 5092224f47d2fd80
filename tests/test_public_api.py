"""One public door, documented; a core that touches nothing; dependencies that run one way."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sansio_step

CORE = Path(sansio_step.__file__).parent

CLASSES = [
    "APIError",
    "AWSFrame",
    "AWSFrameDecoder",
    "AdvisorToolResultBlock",
    "AsyncMessageReader",
    "BashCodeExecutionToolResultBlock",
    "BatchResult",
    "BedrockDecoder",
    "CitationsDelta",
    "CodeExecutionToolResultBlock",
    "CompactionBlock",
    "CompactionDelta",
    "ConnectError",
    "ConnectionLost",
    "ContainerUploadBlock",
    "ContentBlockDeltaEvent",
    "ContentBlockStartEvent",
    "ContentBlockStopEvent",
    "DeadlineExceeded",
    "DecodeError",
    "Deviation",
    "ErrorDetail",
    "ErrorEvent",
    "EventDecoder",
    "FallbackBlock",
    "IncompleteStream",
    "InputJSONDelta",
    "JSONClosed",
    "JSONOpened",
    "JSONPiece",
    "JSONReader",
    "JSONScalar",
    "JSONString",
    "LimitExceeded",
    "MCPToolListingBlock",
    "MCPToolResultBlock",
    "MCPToolUseBlock",
    "Message",
    "MessageAccumulator",
    "MessageDelta",
    "MessageDeltaEvent",
    "MessageReader",
    "MessageRequest",
    "MessageStartEvent",
    "MessageStopEvent",
    "MessageStream",
    "Outcome",
    "PingEvent",
    "ProtocolViolation",
    "RedactedThinkingBlock",
    "SSEDecoder",
    "ServerSentEvent",
    "ServerToolUseBlock",
    "SignatureDelta",
    "StreamError",
    "TextBlock",
    "TextDelta",
    "TextEditorCodeExecutionToolResultBlock",
    "ThinkingBlock",
    "ThinkingDelta",
    "ToolInputError",
    "ToolSearchToolResultBlock",
    "ToolUseBlock",
    "TransportError",
    "UnexpectedResponse",
    "UnknownBlock",
    "UnknownDelta",
    "UnknownEvent",
    "Usage",
    "WebFetchToolResultBlock",
    "WebSearchToolResultBlock",
    "Deadlines",
    "Timeouts",
    "RetryPolicy",
]
FUNCTIONS = [
    "aiter_events",
    "decode_batch_result",
    "decode_error",
    "decode_event",
    "decode_message",
    "encode_aws_frame",
    "encode_event",
    "encode_sse",
    "iter_events",
    "message_events",
    "parse",
    "to_dict",
    "to_json",
    "to_param",
    "retry_delay",
]
OTHERS = ["ContentBlock", "Delta", "JSONDelta", "StreamEvent", "__version__"]


def test_the_public_names():
    """What the package exports is this list, sorted; each of it is there."""
    assert sansio_step.__all__ == sorted([*CLASSES, *FUNCTIONS, *OTHERS])
    assert all(hasattr(sansio_step, name) for name in sansio_step.__all__)


@pytest.mark.parametrize("name", [*CLASSES, *FUNCTIONS])
def test_public_names_are_documented(name):
    """Every class and function says what it is, in words of its own, and so does each of its methods."""
    thing = getattr(sansio_step, name)
    assert inspect.isclass(thing) == (name in CLASSES)
    assert thing.__doc__
    assert "Initialize self" not in thing.__doc__
    for attribute, member in vars(thing).items() if inspect.isclass(thing) else ():
        if not attribute.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
            documented = inspect.getdoc(getattr(thing, attribute))
            assert documented, f"{name}.{attribute}"


# What each layer of the core may import from it: the arrow runs one way.
LAYERS = [
    {"_chunks", "_errors", "_json", "_json_path", "_quirks", "_frames"},
    {
        "_parsed",
        "_body_start",
        "_deviations",
        "_documents",
        "_json_deltas",
        "_retry",
    },
    {"_base", "_growing", "_json_reader", "_receiver"},
    {"_tool_input"},
    {"_aws", "_message", "_sse"},
    {"_events"},
    {"_halves"},
    {"_clean", "_encode", "_deadlines", "_decode", "_live_input", "_runs", "_states"},
    {"_request", "_response", "_turn", "_decoder", "_assembler", "_message_size", "_updates"},
    {"_whole"},
    {"_accumulator", "_batch", "_bedrock"},
    {"_stream", "_message_events"},
    {"_message_reader"},
    {"__init__"},
]
FORBIDDEN = {
    "anyio", "asyncio", "concurrent", "h11", "http", "httpx", "logging", "multiprocessing", "os", "pathlib", "queue",
    "random", "secrets", "select", "selectors", "signal", "socket", "ssl", "subprocess", "threading", "time", "urllib",
}  # fmt: skip


def imports_of(node):
    """The imports in a tree, but for those that only type checkers see."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield "." * node.level + (node.module or "")
    for child in ast.iter_child_nodes(node):
        yield from imports_of(child)


@pytest.mark.parametrize("path", sorted(CORE.glob("*.py")), ids=lambda path: path.stem)
def test_a_module_imports_only_what_stands_below(path):
    """No I/O, clock, thread or environment; no module of a higher layer; msgspec alone from outside."""
    (level,) = [number for number, names in enumerate(LAYERS) if path.stem in names]
    below = set().union(*LAYERS[: level + 1]) - {path.stem}
    for name in imports_of(ast.parse(path.read_text(encoding="utf-8"))):
        if name.startswith("."):
            assert name[1:] in below, name
        else:
            top = name.split(".")[0]
            assert top not in FORBIDDEN, name
            assert top == "msgspec" or top in sys.stdlib_module_names, name


def test_importing_the_core_brings_nothing_heavy():
    """A fresh interpreter that imports the core has no event loop, socket or test library loaded by it."""
    code = (
        "import sys, msgspec; before = set(sys.modules); import sansio_step;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"asyncio", "ssl", "http", "socket", "hypothesis", "anyio", "h11", "typer", "rich"} & set(loaded)


def test_the_version_is_in_the_changelog():
    """The changelog has an entry for the version."""
    changelog = (Path(__file__).parent.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[([0-9.]+)\]", changelog, re.MULTILINE)
    assert sansio_step.__version__ in released


@pytest.mark.parametrize(("name", "mebibytes"), [("max_event_size", 16), ("max_message_size", 64), ("max_size", 64)])
def test_a_limit_is_the_same_at_every_door(name, mebibytes):
    """In bytes, if the caller names none."""
    defaults = {
        inspect.signature(thing).parameters[name].default
        for thing in map(sansio_step.__dict__.get, sansio_step.__all__)
        if name in parameters(thing)
    }
    assert defaults == {mebibytes * 1024 * 1024}


def parameters(thing):
    try:
        return inspect.signature(thing).parameters
    except (TypeError, ValueError):
        return {}
