"""The WSGI application: moto's, with CloudFormation answered by our own engine."""

from __future__ import annotations

import logging
from typing import Any, cast

from flask import Flask
from flask.typing import RouteCallable
from moto.core.utils import convert_to_flask_response
from moto.moto_server.werkzeug_app import (
    HTTP_METHODS,
    BackendRequest,
    DomainDispatcherApplication,
    create_backend_app,
)

from emulation.aws.server import moto_corrections
from emulation.aws.server.cloudformation_api import CloudFormationApi

_log = logging.getLogger("emulation.aws.server")


def create_app(service: Any) -> Flask:
    """The Flask application of one service."""
    if service != "cloudformation":
        moto_corrections.install(service)
        return create_backend_app(service)
    app = Flask("cloudformation")
    app.request_class = BackendRequest
    view = cast(RouteCallable, convert_to_flask_response(CloudFormationApi.dispatch))
    app.add_url_rule("/", endpoint="cloudformation", methods=HTTP_METHODS, view_func=view, strict_slashes=False)
    return app


class Application(DomainDispatcherApplication):
    """Dispatches by service, as moto's server does."""

    def __init__(self) -> None:
        super().__init__(create_app)
