"""The gRPC side of a server. `inference_pb2.py` is made from `inference.proto` by `make proto`."""
