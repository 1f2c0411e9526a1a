"""The process in which templates are rendered: `python -m drumbeat.mail.rendering_child`.

It reads requests from standard input and writes answers to standard output, each a JSON object
behind its length (four bytes, big-endian). It ends when its parent does: then its input ends, and a
rendering that is under way is stopped by its own timer.
"""

import json
import resource
import signal
import sys
from typing import BinaryIO

from drumbeat.campaign.model import Template
from drumbeat.campaign.templates import Body, TemplateError, render


def read_frame(stream: BinaryIO) -> bytes | None:
    """Return the next object's bytes; None at the end of the stream."""
    head = stream.read(4)
    return stream.read(int.from_bytes(head)) if len(head) == 4 else None


def frame(content: object) -> bytes:
    """Return an object as it travels: its length, then its JSON."""
    data = json.dumps(content).encode()
    return len(data).to_bytes(4) + data


def _answer(request: bytes) -> dict[str, object]:
    asked = json.loads(request)
    template = Template(**asked["template"])
    try:
        rendered = render(template, asked["context"])
    except TemplateError as error:
        return {"error": str(error)}
    kind = "body" if isinstance(rendered, Body) else "missing"
    return {kind: rendered.model_dump()}


def main(seconds: float, memory: int) -> None:
    """Answer until the input ends.

    Args:
        seconds: Processor time that one rendering may take; the kernel kills the process then,
            whatever it is computing. Processor time, so that a busy machine stops no template.
        memory: Bytes of address space that the process may have.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Ctrl-C reaches the whole foreground group: the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while (request := read_frame(sys.stdin.buffer)) is not None:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        answer = frame(_answer(request))
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
