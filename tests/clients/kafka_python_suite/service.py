"""Stands in for `test.service`, which kafka-python's source distribution leaves out: a server that is already up."""


class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def dump_logs(self):
        pass

    def stop(self):
        pass


class SpawnedService:
    """The suite starts nothing by itself here; SASL and TLS brokers, which it would start, are not served yet."""

    def __init__(self, args=None, env=None):
        raise NotImplementedError(f"not started: {args}")
