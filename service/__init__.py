"""The REST service: `create_app(settings)` in `service.app` is the way in."""
