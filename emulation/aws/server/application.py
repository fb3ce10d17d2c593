"""The WSGI application: moto's, with CloudFormation answered by our own engine."""

from __future__ import annotations

import json
import logging
from typing import Any, cast
from xml.sax.saxutils import escape

from flask import Flask, Response, request
from flask.typing import RouteCallable
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import convert_to_flask_response
from moto.moto_server.werkzeug_app import (
    HTTP_METHODS,
    BackendRequest,
    DomainDispatcherApplication,
    create_backend_app,
)
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request as PlainRequest
from werkzeug.wrappers import Response as PlainResponse

from emulation.aws.server import control, moto_corrections
from emulation.aws.server.authorization import FROM_HOSTS, refusal
from emulation.aws.server.cloudformation_api import CloudFormationApi
from emulation.aws.server.ssm_agents import AGENTS

_log = logging.getLogger("emulation.aws.server")


def create_app(service: Any) -> Flask:
    """The Flask application of one service."""
    if service != "cloudformation":
        moto_corrections.install(service)
        app = create_backend_app(service)
        _explain_failures(app)
        return app
    app = Flask("cloudformation")
    _explain_failures(app)
    app.request_class = BackendRequest
    view = cast(RouteCallable, convert_to_flask_response(CloudFormationApi.dispatch))
    app.add_url_rule("/", endpoint="cloudformation", methods=HTTP_METHODS, view_func=view, strict_slashes=False)
    return app


def _explain_failures(app: Flask) -> None:
    """Answer what moto cannot do so that SDKs can read it and do not try again: 501 or 400 with the reason."""

    def answer(error: Exception) -> Response:
        missing = isinstance(error, NotImplementedError)
        _log.error("%s: %s", app.name if missing else "internal failure", error, exc_info=not missing)
        code = "NotImplemented" if missing else "EmulationFailure"
        text = f"The embedded AWS failed: {type(error).__name__}: {error}"
        if "json" in request.headers.get("Content-Type", ""):
            body, kind = json.dumps({"__type": code, "message": text}), "application/x-amz-json-1.1"
        else:
            body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{escape(text)}</Message></Error></ErrorResponse>"
            kind = "text/xml"
        return Response(body, status=501 if missing else 400, content_type=kind)

    @app.errorhandler(Exception)
    def handle(error: Exception) -> Any:
        return error if isinstance(error, HTTPException) else answer(error)


class Application(DomainDispatcherApplication):
    """Dispatches by service, as moto's server does, once the caller may do what is asked."""

    def __init__(self) -> None:
        super().__init__(create_app)

    def prepare(self, service: Any) -> None:
        """Have a service ready, with its corrections, before its first request."""
        with self.lock:
            if service not in self.app_instances:
                self.app_instances[service] = self.create_app(service)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer one request; what comes from inside an emulated VPC reaches AWS's own APIs only."""
        path = str(environ.get("PATH_INFO", ""))
        if environ.get(FROM_HOSTS) and path.startswith((control.PREFIX, "/moto-api", "/latest")):
            return PlainResponse("not found", status=404)(environ, start_response)
        if path.startswith(control.PREFIX):
            return control.answer(PlainRequest(environ), self)(environ, start_response)
        refused = refusal(environ, DEFAULT_ACCOUNT_ID)
        if refused is not None:
            return refused(environ, start_response)
        if AGENTS.takes(environ):
            return AGENTS.answer(environ, DEFAULT_ACCOUNT_ID)(environ, start_response)
        return super().__call__(environ, start_response)
