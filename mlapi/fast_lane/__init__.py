"""The fast lane: answers plain requests for predictions before they reach Django.

Django's handler, its middleware and DRF's dispatch take longer than a small model. A WSGI server
calls `respond` first; if it returns None, Django answers the same request.

**Which requests take it.** A POST to a route in ROUTES with a valid bearer token, a Content-Length
within MAX_REQUEST_BYTES, an allowed host and a plain body: for /predictions/, JSON with a target
and an input, optionally a subject and a reference; for /v2, any request of the protocol.

**What it skips, and why that is safe.** URL resolution is cached. The middleware is for pages, for
browsers (a request with an Origin or a Cookie goes to Django) and for the response headers, which
are written here. DRF's parsers, permissions and serializers would accept every request that is
taken. Access log, metrics and request id are the middleware's own functions.

**When it hands over.** Whenever anything is unusual, before anything is recorded: Django then
reports what is wrong. An exception of the prediction itself becomes the same problem document as
in DRF.

`mlapi/tests/fast_lane` sends hundreds of requests both ways and requires equal responses and rows.
A new permission, throttle, middleware or field must be added here too, or handed over.
"""

from mlapi.fast_lane.lane import respond, respond_to_probe

__all__ = ["respond", "respond_to_probe"]
