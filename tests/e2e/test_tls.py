"""Participants, and proxies before vowd, that have https: what is wrong with a certificate is said
where somebody looks, with what to do; it delays and changes no outcome; a renewed one is enough."""

import os
import re
import ssl
import subprocess

import pytest
from vowtest import assert_aborted, assert_committed, toy, wait_until
from vowtest.ctl import UNREACHABLE, run
from vowtest.process import COMPLAINT, LAUNCHER, program

HERE, ELSEWHERE = "subjectAltName=IP:127.0.0.1", "subjectAltName=DNS:x.example"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
ALERT = "alert certificate required|alert handshake failure"
MEND = "Mend what it names, here or at the proxy there."


def openssl(*arguments, **more):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, **more)


class Authority:
    """Signs certificates that are good for a day."""

    def __init__(self, folder, name="authority"):
        self.folder, self.name, self.file = folder, name, folder / f"{name}.pem"
        self.key = folder / f"{name}.key"
        openssl("req", "-x509", *NEW_KEY, "-nodes", "-keyout", self.key,
                "-out", self.file, "-days", 3650, "-subj", f"/CN={name}")  # fmt: skip

    def server(self, name="server", extension=HERE, days=1):
        """A server's context, with a certificate of its own."""
        key, request, file = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        openssl("req", *NEW_KEY, "-nodes", "-keyout", key, "-out", request,
                "-subj", f"/CN={name}")  # fmt: skip
        openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key,
                "-CAcreateserial", "-days", days, "-out", file, "-extfile", "/dev/stdin",
                input=extension.encode())  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file, key)
        return context


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def trusting(world, authority, **options):
    """A vowd on a machine that trusts this authority, and its clock."""
    vowd = world.vowd(start=False, prepare_timeout_ms=1000, **options)
    disk = world.faults(vowd)
    vowd.environment = {**vowd.environment, "FAULTS_TRUST": str(authority.file)}
    vowd.start()
    return vowd, disk


def wants_a_certificate(context, authority):
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def old_tls(context):
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def test_a_participant_with_https_commits(world, authority):
    vowd, _ = trusting(world, authority)
    secure, plain = world.toy(tls=authority.server()), world.toy()
    id = assert_committed(vowd.client.one_shot([secure.url, plain.url]))["id"]
    vowd.wait_state(id, "committed")
    assert secure.outcome(id) == plain.outcome(id) == "committed"


WRONG = {
    "expired": (48, lambda own, other: own.server(), "certificate has expired"),
    "early": (-48, lambda own, other: own.server(), "certificate is not yet valid"),
    "name": (0, lambda own, other: own.server(extension=ELSEWHERE), "subject name"),
    "authority": (0, lambda own, other: other.server(), "unable to get local issuer|self-signed"),
    "ours": (0, lambda own, other: wants_a_certificate(own.server(), own), ALERT),
    "ours, TLS 1.2": (0, lambda own, other: old_tls(wants_a_certificate(own.server(), own)), ALERT),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_wherever_somebody_looks(world, authority, name):
    hours, make, words = WRONG[name]
    words = f"no secure connection to 127\\.0\\.0\\.1:\\d+: .*({words})"
    vowd, disk = trusting(world, authority)
    plain = world.toy()
    bad = world.toy(tls=make(authority, Authority(authority.folder, "other")))
    disk.clock(hours=hours)
    aborted = assert_aborted(vowd.client.one_shot([plain.url, {"url": bad.url, "name": "bad"}]))
    assert re.search(words, aborted["reason"]), aborted["reason"]
    wait_until(lambda: re.search(words, vowd.process.text()), "the log says it")
    participants = vowd.client.get("/v1/participants").json["participants"]
    assert any(re.search(words, one.get("last_error") or "") for one in participants), participants
    wait_until(lambda: plain.outcome(aborted["id"]) == "aborted", "the other one is told")
    assert not bad.received(), "nothing of it has arrived"

    told = run("--url", bad.url, "status", **vowd.environment)
    told.refused(UNREACHABLE, MEND)
    assert re.search(words, told.err), told
    error, why = probe(bad.url, vowd.environment)
    assert error == "unreachable" and re.search(WRONG[name][2], why), (error, why)


def test_a_certificate_that_expires_delays_a_commit_until_it_is_renewed(world, authority):
    """Decided before, delivered after; what begins meanwhile aborts. No restart, no reload."""
    vowd, disk = trusting(world, authority)
    secure, plain = world.toy(tls=authority.server()), world.toy()
    secure.script("commit", toy.answer(503))
    id = assert_committed(vowd.client.one_shot([plain.url, {"url": secure.url, "name": "s"}]))["id"]
    disk.clock(hours=48)
    secure.server.end_connections()
    secure.unscript()

    def says_why():
        branch = next(b for b in vowd.client.show(id)["branches"] if b["name"] == "s")
        return "certificate has expired" in branch.get("last_error", "")

    wait_until(says_why, "the branch says why it waits")
    assert vowd.client.state(id) == "committing"
    assert_aborted(vowd.client.one_shot([plain.url, secure.url]), "certificate has expired")
    secure.tls = authority.server(days=30)
    vowd.wait_state(id, "committed")
    assert secure.outcome(id) == plain.outcome(id) == "committed"
    assert_committed(vowd.client.one_shot([plain.url, secure.url]))


def probe(url, environment):
    command = [*LAUNCHER, program("client_probe"), url, "1500", "begin"]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0 and not COMPLAINT.search(done.stderr), done
    error, _, why = done.stdout.rstrip("\n").split(" ", 2)
    return error, why


def test_a_list_of_authorities_that_cannot_be_read_is_no_answer_of_the_other_side(world, authority):
    vowd = world.vowd(start=False, prepare_timeout_ms=1000)
    secure = world.toy(tls=authority.server())
    world.faults(vowd)
    vowd.environment = {**vowd.environment, "FAULTS_TRUST": str(authority.folder / "missing")}
    vowd.start()
    words = "error setting certificate file"
    assert_aborted(vowd.client.one_shot([secure.url, world.toy().url]), words)
    error, why = probe(secure.url, vowd.environment)
    assert error == "unreachable" and words in why, (error, why)
    told = run("--url", secure.url, "status", **vowd.environment)
    told.refused(UNREACHABLE, words, MEND)


def test_a_vowd_without_a_proxy_is_not_asked_by_https(world):
    url = world.vowd().url
    told = run("--url", url.replace("http://", "https://"), "status")
    told.refused(UNREACHABLE, "no secure connection", MEND, "address", "begins with http://.")
    run("--url", url, "status").fine()
