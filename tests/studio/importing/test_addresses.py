"""What imports may reach: nothing but the public internet, by whatever notation or detour."""

import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.exceptions import ImproperlyConfigured

from studio import env
from studio.importing import addresses
from studio.importing.addresses import AddressRefused, GuardedTransport, find_addresses, is_public

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "fe80::1",
    "fec0::1",
    "fd00:ec2::254",
    "ff02::1",
]
# One and the same address, as the system's resolver reads it.
NOTATIONS = ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]", "[::ffff:7f00:1]"]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_private_address_is_public(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"])
def test_a_public_address_is(address):
    assert is_public(ip_address(address))


@pytest.mark.django_db
@pytest.mark.parametrize("host", [*NOTATIONS, "127.0.0.1:80", "169.254.169.254", "x.localhost"])
@pytest.mark.parametrize("shape", ["hf+http://{}/o/n", "http://{}/m.gguf", "hf+https://{}/o/n"])
def test_a_private_address_is_refused_before_anything_is_queued(ask, host, shape):
    answer = ask(shape.format(host), run=False)
    assert (answer["code"], answer["field"]) == ("address_refused", "source")


@pytest.mark.django_db
@pytest.mark.parametrize("host", [*NOTATIONS, "127.0.0.1", "169.254.169.254"])
def test_no_redirect_leads_inside(ask, elsewhere, host):
    elsewhere.sends_on = f"http://{host}:{elsewhere.port}/config.json"
    item = ask(elsewhere.source)
    # httpx itself takes no octal numbers in an address.
    code = "source_fault" if host.startswith("0177") else "address_refused"
    assert (item["state"], item["problem"]["code"]) == ("failed", code)
    item = ask(f"http://localhost:{elsewhere.port}/m.gguf", name="g")
    assert (item["state"], item["problem"]["code"]) == ("failed", code)
    assert {headers["Host"].split(":")[0] for _, headers in elsewhere.asked} == {"localhost"}


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://localhost/x", "gopher://x", "//"])
def test_no_redirect_leads_out_of_the_web(ask, elsewhere, url):
    elsewhere.sends_on = url
    assert ask(elsewhere.source)["problem"]["code"] == "source_fault"


@pytest.mark.django_db
def test_a_next_page_elsewhere_is_judged_too(ask, elsewhere, monkeypatch):
    seen = []

    def judge(host):
        seen.append(host)
        return find_addresses(host)

    monkeypatch.setattr(addresses, "find_addresses", judge)
    assert ask(elsewhere.source)["state"] == "done"
    assert len(seen) == len(elsewhere.asked)  # no request without a judgement


def test_a_name_with_one_private_address_is_refused(monkeypatch):
    both = [ip_address("1.1.1.1"), ip_address("10.0.0.1")]
    monkeypatch.setattr(addresses, "resolve", lambda host, flags=0: both)
    with pytest.raises(AddressRefused):
        find_addresses("two.example")


def test_a_name_that_changes_its_mind_is_connected_where_it_was_judged(monkeypatch):
    answers = iter([[ip_address("93.184.215.14")], [ip_address("127.0.0.1")]])
    monkeypatch.setattr(addresses, "resolve", lambda host, flags=0: next(answers))
    sent = []

    def connect(self, request):
        sent.append(request)
        return httpx.Response(200)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", connect)
    with httpx.Client(transport=GuardedTransport()) as client:
        client.get("https://rebinds.example/x")
        with pytest.raises(AddressRefused):
            client.get("https://rebinds.example/x")
    assert [request.url.host for request in sent] == ["93.184.215.14"]
    assert sent[0].headers["Host"] == "rebinds.example"
    assert sent[0].extensions["sni_hostname"] == "rebinds.example"


def test_an_operator_allows_hosts_and_networks(monkeypatch, settings):
    monkeypatch.setenv("ATHANOR_IMPORT_ALLOW", "Hub.Lab, 127.0.0.0/8,::1")
    settings.IMPORT_ALLOW = env.hosts_and_networks("ATHANOR_IMPORT_ALLOW")
    assert find_addresses("127.0.0.1") and find_addresses("::1")
    monkeypatch.setattr(addresses, "resolve", lambda host, flags=0: [ip_address("10.0.0.1")])
    assert find_addresses("hub.lab")
    with pytest.raises(AddressRefused):
        find_addresses("hub.lab.example")


@pytest.mark.parametrize("text", ["10.0.0.1/8", "http://hub.lab", "a b", "*"])
def test_an_allowance_that_means_nothing_is_refused_at_start(monkeypatch, text):
    monkeypatch.setenv("ATHANOR_IMPORT_ALLOW", text)
    with pytest.raises(ImproperlyConfigured, match="ATHANOR_IMPORT_ALLOW"):
        env.hosts_and_networks("ATHANOR_IMPORT_ALLOW")


@pytest.mark.django_db
def test_another_host_is_not_shown_the_token(ask, elsewhere, settings):
    settings.IMPORT_ALLOW = (frozenset({"localhost", "127.0.0.1"}), ())
    elsewhere.files = {"config.json": b"{}"}
    elsewhere.sends_on = f"http://127.0.0.1:{elsewhere.port}/config.json"
    assert ask(elsewhere.source, token="hf_secret")["state"] == "done"
    shown = {headers["Host"]: headers.get("Authorization") for _, headers in elsewhere.asked}
    assert shown[f"localhost:{elsewhere.port}"] == "Bearer hf_secret"
    assert shown[f"127.0.0.1:{elsewhere.port}"] is None


@pytest.fixture
def sealed_server(tmp_path, monkeypatch):
    """`sealed_server(name)` is the port of an HTTPS server whose certificate is of that name."""
    servers = []

    def serve(name: str) -> int:
        make_certificate(name, tmp_path / "both.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "both.pem"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "both.pem")
        server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_port

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def make_certificate(name: str, path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(tz=UTC)
    built = (
        x509.CertificateBuilder(named, named, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    raw = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(raw + built.public_bytes(pem))


@pytest.mark.parametrize(("name", "is_trusted"), [("localhost", True), ("other.example", False)])
def test_a_certificate_is_of_the_name_and_not_of_the_address(sealed_server, name, is_trusted):
    with httpx.Client(transport=GuardedTransport()) as client:
        url = f"https://localhost:{sealed_server(name)}/nothing"
        if is_trusted:
            assert client.get(url).status_code == 404
        else:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                client.get(url)
