"""`grpcurl` as far as the examples of clients/README.md take it.

It knows of a service what its server reflects, and nothing that was generated from protos.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import DescriptorProto, ServiceDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-plaintext", action="store_true")
    parser.add_argument("-cacert", type=Path)
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="question", default="{}")
    parser.add_argument("address")
    parser.add_argument("what", help="list, describe, or a method")
    parser.add_argument("symbol", nargs="?")
    arguments = parser.parse_args()
    question = sys.stdin.read() if arguments.question == "@" else arguments.question
    with connect(arguments) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        try:
            if arguments.what == "list":
                print(*sorted(database.get_services()), sep="\n")
            elif arguments.what == "describe":
                print(describe(pool, arguments.symbol))
            else:
                for answer in ask(channel, pool, arguments.what, question):
                    print(json_format.MessageToJson(answer))
        except grpc.RpcError as error:
            sys.exit(str(error))


def connect(arguments: argparse.Namespace) -> grpc.Channel:
    if arguments.plaintext:
        return grpc.insecure_channel(arguments.address)
    server = grpc.ssl_channel_credentials(arguments.cacert.read_bytes())
    who = grpc.metadata_call_credentials(Headers(arguments.headers))
    return grpc.secure_channel(arguments.address, grpc.composite_channel_credentials(server, who))


class Headers(grpc.AuthMetadataPlugin):
    def __init__(self, headers: list[str]) -> None:
        pairs = (header.split(": ", 1) for header in headers)
        self.headers = tuple((name, value) for name, value in pairs)

    def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        del context
        callback(self.headers, None)


def describe(pool: DescriptorPool, symbol: str) -> ServiceDescriptorProto | DescriptorProto:
    try:
        service = ServiceDescriptorProto()
        pool.FindServiceByName(symbol).CopyToProto(service)
    except KeyError:
        message = DescriptorProto()
        pool.FindMessageTypeByName(symbol).CopyToProto(message)
        return message
    return service


def ask(channel: grpc.Channel, pool: DescriptorPool, path: str, question: str) -> Iterator[Message]:
    service, name = path.split("/")
    method = pool.FindServiceByName(service).methods_by_name[name]
    question_class, answer_class = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    request = json_format.Parse(question, question_class(), descriptor_pool=pool)
    how = (f"/{path}", question_class.SerializeToString, answer_class.FromString)
    if method.server_streaming:
        yield from channel.unary_stream(*how)(request)
    else:
        yield channel.unary_unary(*how)(request)


if __name__ == "__main__":
    main()
