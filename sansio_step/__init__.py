"""Read a Messages stream, anywhere: bytes in, typed events and one final `Message` out, without I/O.

`MessageStream` is what most people embed; `parse`, `iter_events` and `aiter_events` are its one-liners. Each
layer below is usable alone: `SSEDecoder` (bytes to frames), `EventDecoder` (bytes to events),
`MessageAccumulator` (events to the message). `JSONReader` reads the arguments of a tool call while they grow.
Nothing here opens a socket, reads a clock or starts a thread; the package `sansio_step_adapters` does.
"""

from ._accumulator import MessageAccumulator
from ._aws import AWSFrame, AWSFrameDecoder, encode_aws_frame
from ._batch import BatchResult, decode_batch_result
from ._bedrock import BedrockDecoder
from ._deadlines import Deadlines, Timeouts
from ._decode import decode_event
from ._decoder import EventDecoder
from ._deviations import Deviation
from ._encode import encode_event, to_dict, to_json
from ._errors import (
    APIError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    IncompleteStream,
    LimitExceeded,
    ProtocolViolation,
    StreamError,
    ToolInputError,
    TransportError,
    UnexpectedResponse,
)
from ._events import (
    CitationsDelta,
    CompactionDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    Delta,
    ErrorDetail,
    ErrorEvent,
    InputJSONDelta,
    MessageDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
    SignatureDelta,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    UnknownDelta,
    UnknownEvent,
)
from ._json_deltas import JSONClosed, JSONDelta, JSONOpened, JSONPiece, JSONScalar, JSONString
from ._json_reader import JSONReader
from ._message import (
    AdvisorToolResultBlock,
    BashCodeExecutionToolResultBlock,
    CodeExecutionToolResultBlock,
    CompactionBlock,
    ContainerUploadBlock,
    ContentBlock,
    FallbackBlock,
    MCPToolListingBlock,
    MCPToolResultBlock,
    MCPToolUseBlock,
    Message,
    RedactedThinkingBlock,
    ServerToolUseBlock,
    TextBlock,
    TextEditorCodeExecutionToolResultBlock,
    ThinkingBlock,
    ToolSearchToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
    Usage,
    WebFetchToolResultBlock,
    WebSearchToolResultBlock,
)
from ._message_events import message_events
from ._message_reader import AsyncMessageReader, MessageReader, aiter_events, iter_events, parse
from ._request import MessageRequest
from ._response import decode_error, decode_message
from ._retry import RetryPolicy, retry_delay
from ._sse import ServerSentEvent, SSEDecoder, encode_sse
from ._states import Outcome
from ._stream import MessageStream
from ._turn import to_param

__version__ = "0.2.0"

__all__ = [
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
    "ContentBlock",
    "ContentBlockDeltaEvent",
    "ContentBlockStartEvent",
    "ContentBlockStopEvent",
    "DeadlineExceeded",
    "Deadlines",
    "DecodeError",
    "Delta",
    "Deviation",
    "ErrorDetail",
    "ErrorEvent",
    "EventDecoder",
    "FallbackBlock",
    "IncompleteStream",
    "InputJSONDelta",
    "JSONClosed",
    "JSONDelta",
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
    "RetryPolicy",
    "SSEDecoder",
    "ServerSentEvent",
    "ServerToolUseBlock",
    "SignatureDelta",
    "StreamError",
    "StreamEvent",
    "TextBlock",
    "TextDelta",
    "TextEditorCodeExecutionToolResultBlock",
    "ThinkingBlock",
    "ThinkingDelta",
    "Timeouts",
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
    "__version__",
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
    "retry_delay",
    "to_dict",
    "to_json",
    "to_param",
]
