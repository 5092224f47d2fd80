"""README and manual: their code runs, their tables are whole, their links lead somewhere."""

from __future__ import annotations

import asyncio
import inspect
import pkgutil
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import anyio.from_thread
import pytest

import sansio_step
import sansio_step_adapters
from sansio_step._deviations import READINGS
from sansio_step_adapters.anyio import AsyncClient
from sansio_step_adapters.asgi import Report
from sansio_step_adapters.replay import serve

from . import manual
from .manual import PAGES, ROOT, Block, rows

BLOCKS = list(manual.blocks())
# They patch the process or can be started in it only once.
ALONE = ("gevent", "twisted")


@pytest.fixture(scope="module")
def base_url():
    """A server that answers every request with the capture, in the background of the test."""
    serving = serve(manual.BODY)
    with anyio.from_thread.start_blocking_portal() as portal, portal.wrap_async_context_manager(serving) as server:
        yield server.base_url


@pytest.fixture(scope="module")
def cloud():
    with manual.cloud() as url:
        yield url


@pytest.fixture
def names(base_url, cloud, tmp_path, monkeypatch):
    """What the pages take for granted: names, and two captures in the folder that one is in."""
    monkeypatch.chdir(tmp_path)
    for name in ("capture.sse", "sky.sse"):
        Path(name).write_bytes(manual.BODY)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    message = sansio_step.parse(manual.BODY)
    return {
        "base_url": base_url,
        "host": urlsplit(base_url).hostname,
        "port": urlsplit(base_url).port,
        "url": f"{base_url}/v1/messages",
        "headers": dict(manual.KEY),
        "request": dict(manual.REQUEST),
        "model_request": {name: value for name, value in manual.REQUEST.items() if name != "stream"},
        "chunks": [manual.BODY[:100], manual.BODY[100:]],
        "message": message,
        "tool_message": sansio_step.parse(manual.CALL_BODY),
        "events": list(sansio_step.iter_events([manual.BODY])),
        "cut_body": manual.CUT_BODY,
        "folder": str(tmp_path),
        "bedrock_endpoint": cloud,
        "bedrock_url": f"{cloud}/model/m/invoke-with-response-stream",
        "vertex_models": f"{cloud}/publishers/anthropic/models",
        "token": "test",
    }


def ids(block: Block) -> str:
    return f"{block.page}-{block.number}"


def run(block: Block, names: dict) -> sansio_step.Message | None:
    """Run a block, and the `main` that it defines. The message that it gets, if it is about one."""
    exec(compile(block.code, f"<{block.page}.md>", "exec"), names)
    main = names.get("main")
    found = asyncio.run(main()) if inspect.iscoroutinefunction(main) else None
    return found or names.get("message")


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.page != "embedding"], ids=ids)
def test_the_code_runs(block, names):
    """Every block runs as it stands, and what it reads is what was sent."""
    block.skip_without_packages()
    if block.page == "tool_arguments":
        names["chunks"] = [manual.CALL_BODY[start : start + 50] for start in range(0, len(manual.CALL_BODY), 50)]
    assert run(block, names).text in ("Hello", "Because air scatters blue light more than red.")


# --- embedding ---------------------------------------------------------------------------------------------------

STACKS = [block for block in BLOCKS if block.page == "embedding"]
SERVED = [block for block in STACKS if "async def ask(" in block.code]
CALLING = [block for block in STACKS if block not in SERVED]


def run_alone(block: Block, names: dict) -> str:
    """Run a block as a program. What it prints, that its message is the right one among it."""
    given = {name: names[name] for name in ("url", "headers", "request")}
    begin = "".join(f"{name} = {value!r}\n" for name, value in given.items())
    program = f"{begin}try:\n    exec({block.code!r})\nexcept SystemExit as end:\n    assert not end.code\n"
    program += "print('it says', message.text)\n"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("block", CALLING, ids=ids)
def test_a_stack_reads_a_stream(block, names):
    """Each recipe gets the message."""
    block.skip_without_packages()
    if block.packages & set(ALONE):
        assert "it says Hello" in run_alone(block, names)
        return
    names["message"] = None
    if "websocket_url" in block.code:
        with manual.websocket() as names["websocket_url"]:
            assert run(block, names).text == "Hello"
    else:
        assert run(block, names).text == "Hello"


@pytest.mark.parametrize("block", CALLING, ids=ids)
def test_a_stack_looks_at_the_status(block, names):
    """Each recipe raises what the server said, for a request or a key that it refuses."""
    block.skip_without_packages()
    names["request"], names["headers"] = dict(manual.REFUSED), dict(manual.WRONG_KEY)
    if block.packages & set(ALONE):
        assert "APIError: 400 invalid_request_error: max_tokens: it is missing" in run_alone(block, names)
        return
    with pytest.raises(sansio_step.APIError) as caught:
        if "websocket_url" in block.code:
            with manual.websocket() as names["websocket_url"]:
                run(block, names)
        else:
            run(block, names)
    assert caught.value.status in (400, 401)
    assert caught.value.message in ("max_tokens: it is missing", "unknown key")


@pytest.mark.parametrize("request_", [manual.REQUEST, manual.REFUSED], ids=["good", "refused"])
def test_the_view_of_starlette(request_, names):
    """The caller gets the text, or the server's words with a status of its own."""
    (block,) = (block for block in SERVED if "starlette" in block.packages)
    block.skip_without_packages()
    names["request"] = request_
    run(block, names)

    async def ask():
        try:
            return await get(names["web"], "/ask")
        finally:
            await names["client"].aclose()

    response = asyncio.run(ask())
    if request_ is manual.REQUEST:
        assert (response.status_code, response.text) == (200, "Hello")
    else:
        assert (response.status_code, response.json()) == (502, {"error": "max_tokens: it is missing"})


async def get(app, path, **options):
    """The response of an ASGI application, without a server."""
    httpx2 = pytest.importorskip("httpx2")
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client:
        return await client.request(options.pop("method", "GET"), path, **options)


@pytest.mark.parametrize("request_", [manual.REQUEST, manual.REFUSED], ids=["good", "refused"])
def test_the_view_of_django(request_, names):
    """The same."""
    (block,) = (block for block in SERVED if "django" in block.packages)
    block.skip_without_packages()
    from django.conf import settings  # noqa: PLC0415
    from django.test import RequestFactory  # noqa: PLC0415

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"])
    names["request"] = request_
    run(block, names)

    async def ask():
        response = await names["ask"](RequestFactory().get("/ask"))
        if not response.streaming:
            return response.status_code, response.content.decode()
        return response.status_code, b"".join([part async for part in response.streaming_content]).decode()

    if request_ is manual.REQUEST:
        assert asyncio.run(ask()) == (200, "Hello")
    else:
        assert asyncio.run(ask()) == (502, '{"error": "max_tokens: it is missing"}')


@pytest.mark.parametrize(
    "library",
    [
        "httpx", "httpx2", "httpx_sse", "httpcore", "aiohttp", "requests", "niquests", "urllib3", "curl_cffi", "tornado",
        "treq", "gevent", "asyncio", "starlette", "django", "websockets", "botocore", "boto3",
    ],
)  # fmt: skip
def test_every_stack_is_shown(library):
    """Each has a block."""
    assert any(library in block.packages for block in STACKS)


# --- the gateway -------------------------------------------------------------------------------------------------

ASKED = {"method": "POST", "json": manual.REQUEST}


def gateway_block(word: str) -> Block:
    (block,) = (block for block in BLOCKS if block.page == "gateway" and word in block.code)
    return block


def test_the_gateway_logs_a_call(names, capsys):
    """The page's first application passes a call on, and prints what it came to."""
    run(gateway_block("def log("), names)

    async def ask():
        async with names["app"]:
            return await get(names["app"], "/v1/messages", **ASKED)

    assert asyncio.run(ask()).content == manual.BODY
    assert "/v1/messages 200 Outcome.COMPLETE Usage(input_tokens=3, output_tokens=2" in capsys.readouterr().out


def test_the_gateway_in_fastapi_knows_who_called(names, capsys):
    """A caller with a key gets the stream and pays for it; one without is refused, in the API's own words."""
    block = gateway_block("import FastAPI")
    block.skip_without_packages()
    run(block, names)

    async def ask(key):
        async with names["app"].router.lifespan_context(names["app"]):
            return await get(names["app"], "/v1/messages", headers={"authorization": key}, **ASKED)

    assert asyncio.run(ask("Bearer secret-of-anna")).content == manual.BODY
    assert capsys.readouterr().out.startswith("anna m Usage(input_tokens=3, output_tokens=2")
    refused = asyncio.run(ask("Bearer else"))
    error = sansio_step.decode_error(refused.status_code, refused.headers, refused.content)
    assert (error.status, error.type) == (401, "authentication_error")


def test_the_attributes_of_opentelemetry(names):
    """The table has each attribute that the function gives; counts of the cache are part of the input's."""
    run(gateway_block("def attributes("), names)
    usage = sansio_step.Usage(
        input_tokens=3, output_tokens=2, cache_read_input_tokens=40, cache_creation_input_tokens=500
    )
    message = sansio_step.Message(id="msg_1", model="m", stop_reason="end_turn", usage=usage)
    report = Report("/v1/messages", status=200, messages=[message], usage_is_final=True, first_event_after=0.5)
    report.error = sansio_step.APIError("overloaded_error", "too much")
    said = names["attributes"](report)
    assert [name for name, _ in rows("gateway", "attribute")] == list(said)
    assert list(said.values()) == ["chat", "msg_1", "m", ["end_turn"], 543, 40, 500, 2, 0.5, 200, "overloaded_error"]
    assert names["attributes"](Report("/v1/messages")) == {"gen_ai.operation.name": "chat"}


def test_the_report_is_on_the_page():
    """Each field and property is named."""
    listed = {
        name
        for row in PAGES["gateway"].partition("## The report")[2].splitlines()
        for name in re.findall(r"`(\w+)`", row)
    }
    fields = {
        *inspect.signature(Report).parameters,
        *(name for name, _ in inspect.getmembers(Report, lambda thing: isinstance(thing, property))),
    }
    assert fields <= listed  # fmt: skip


# --- tables ------------------------------------------------------------------------------------------------------


def test_an_argument_is_streamed_in_eight_lines(capsys):
    """The page's lines print one argument of a tool call, decoded, and nothing else of it."""
    (code,) = (block.code for block in BLOCKS if block.page == "tool_arguments" and "JSONReader()" in block.code)
    assert len(code.splitlines()) == 8
    body = manual.CALL_BODY
    exec(
        compile(code, "<tool_arguments.md>", "exec"),
        {"chunks": [body[start : start + 50] for start in range(0, len(body), 50)]},
    )
    assert capsys.readouterr().out == 'print("hé")\n'


def test_every_kind_of_delta_has_a_row():
    """The table has each class of JSONDelta under its kind."""
    listed = [(kind, name) for kind, name, _ in rows("tool_arguments", "`kind`")]
    assert sorted(listed) == sorted((each.kind, each.__name__) for each in get_args(sansio_step.JSONDelta))


def test_events_and_blocks_are_as_the_types_have_them():
    """The tables of the page are those that `python docs/tables.py` writes."""
    tables = runpy.run_path(str(ROOT / "docs" / "tables.py"))
    assert tables["page"](PAGES["events"]) == PAGES["events"]


def test_the_clients_arguments_have_rows():
    """The table has each argument of a client, in order, with the default that it has."""
    parameters = list(inspect.signature(AsyncClient).parameters.values())
    table = rows("client", "argument")
    assert [name for name, *_ in table] == [parameter.name for parameter in parameters]
    sizes = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    for parameter, (_, default, _) in zip(parameters, table, strict=True):
        if isinstance(parameter.default, (bool, str)):
            assert default.strip('"') == str(parameter.default)
        elif isinstance(parameter.default, int):
            number, unit = default.split()
            assert int(number) * sizes[unit] == parameter.default
        else:
            assert parameter.default is None
    assert {name: default for name, default, _ in table}["max_retries"] == str(sansio_step.RetryPolicy().max_retries)


def test_the_timeouts_have_rows():
    """The table has each limit with its default."""
    limits = sansio_step.Timeouts()
    assert [(name, float(default)) for name, default, _ in rows("client", "name")] == [
        (name, getattr(limits, name)) for name in limits.__struct_fields__
    ]


def test_every_outcome_has_a_row():
    """The table has each member, in order."""
    assert [name for name, *_ in rows("errors", "`outcome`")] == [outcome.name for outcome in sansio_step.Outcome]


def test_every_deviation_has_a_heading():
    """So that it has an anchor."""
    assert set(READINGS) <= set(re.findall(r"^#+ `?([a-z_]+)`?$", PAGES["deviations"], re.MULTILINE))


def test_every_error_has_a_row():
    """The table names each error class that can be raised."""
    for name in sansio_step.__all__:
        thing = getattr(sansio_step, name)
        if isinstance(thing, type) and issubclass(thing, sansio_step.StreamError) and name != "StreamError":
            assert f"`{name}`" in PAGES["errors"], name


@pytest.mark.parametrize("name", [name for name in sansio_step.__all__ if not name.startswith("__")])
def test_the_reference_has_every_name(name):
    """Each public name of the core has a place in the API reference, and one only."""
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "api").glob("*.md"))
    assert len(re.findall(rf"^\.\. (?:auto\w+|py:data):: {name}$", pages, re.MULTILINE)) == 1


def test_the_reference_has_every_module_of_the_adapters():
    """Each module that one imports, but for the program, which is no library."""
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "api").glob("*.md"))
    names = {module.name for module in pkgutil.iter_modules(sansio_step_adapters.__path__)}
    for name in sorted(name for name in names if not name.startswith("_") and name != "cli"):
        assert f".. automodule:: sansio_step_adapters.{name}\n" in pages


# --- links -------------------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize(
    "path", [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))], ids=lambda path: path.name
)
def test_links_lead_somewhere(path):
    """Each link to a file of the repository names one that is there, and a heading that it has."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file) if file else path
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_has_no_relative_link_on_the_index():
    """What pyproject.toml replaces are all links and pictures, and all lead to one address."""
    tomllib = pytest.importorskip("tomllib", reason="tomllib is there from Python 3.11 on")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    text = PAGES["README"]
    for each in project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    home = project["project"]["urls"]["Homepage"]
    links = [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith("#")]
    assert links
    assert all(link.startswith(f"{home}/") for link in links)
    assert all(link == home or link.startswith(f"{home}/") for link in project["project"]["urls"].values())


def test_readme_is_short():
    """About a screen or two; what is longer belongs to the manual."""
    assert len(PAGES["README"].splitlines()) <= 160
