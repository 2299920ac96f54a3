"""The reference daemon's configuration: tables, keys, and what types cannot express."""

import pytest

from ctld.endpoint import Listen
from ctld.errors import ConfigError
from ctld.limits import Limits
from ctld.settings import DaemonSettings, RoleSettings, Settings, load_settings, places

FULL = """\
[daemon]
runtime_dir = "/run/mine"
state_dir = "/var/lib/mine"
log_level = "debug"
log_format = "json"

[limits]
max_connections = 10

[roles]
observe = ["group:users"]
operate = ["user:root"]
admin = ["uid:0", "cert:boss"]

[[listen]]
address = "unix:/run/mine/ctl.sock"
dialect = "native"
mode = "0600"
user = "root"
group = "root"
role = "observe"

[[listen]]
address = "tls:127.0.0.1:7777"
tls_certificate = "/c.pem"
tls_key = "/k.pem"
tls_ca = "/ca.pem"
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "ctld.toml"
        path.write_text(text)
        return str(path)

    return write


def test_every_key_is_read(write):
    settings = load_settings(write(FULL))
    assert settings == Settings(
        daemon=DaemonSettings(runtime_dir="/run/mine", state_dir="/var/lib/mine", log_level="debug", log_format="json"),
        limits=Limits(max_connections=10),
        roles=RoleSettings(observe=("group:users",), operate=("user:root",), admin=("uid:0", "cert:boss")),
        listen=(
            Listen(address="unix:/run/mine/ctl.sock", mode="0600", user="root", group="root", role="observe"),
            Listen(address="tls:127.0.0.1:7777", tls_certificate="/c.pem", tls_key="/k.pem", tls_ca="/ca.pem"),
        ),
    )


def test_an_empty_file_is_the_defaults(write):
    assert load_settings(write("")) == Settings()


def test_roles_go_to_the_policy_as_a_mapping():
    roles = RoleSettings(operate=("user:a",))
    assert roles.mapping() == {"anyone": (), "observe": (), "operate": ("user:a",), "admin": ()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[daemon]\nlog_levl = 'x'", "ctld.toml:2: daemon.log_levl: there is no such key; did you mean log_level?"),
        (
            "[daemon]\nlog_level = 'loud'",
            "ctld.toml:2: daemon.log_level: 'loud' is none of debug, error, info, warning",
        ),
        ("[demon]\n", "ctld.toml:1: demon: there is no such key; did you mean daemon?"),
        ("[limits]\n\nmax_line = 0", "ctld.toml:3: limits.max_line: expected integer >= 1"),
        ("[limits]\nmax_lines = 1", "ctld.toml:2: limits.max_lines: there is no such key; did you mean max_line?"),
        ("[roles]\nadmin = 'root'", "ctld.toml:2: roles.admin: expected array, got string"),
        (
            "[roles]\nboss = []",
            "ctld.toml:2: roles.boss: there is no such key; there are admin, anyone, observe, operate",
        ),
        ("[roles]\nadmin = [\n'user:a',\n'bob']", 'ctld.toml:4: roles.admin[1]: "bob" does not say what it is'),
        (
            "[roles]\nadmin = ['user:a']\noperate = ['user:a']",
            'ctld.toml:2: roles.admin[0]: "user:a" stands under both operate and admin',
        ),
        ("[[listen]]\nmode = '0600'", "ctld.toml:1: listen[0]: the key address is missing"),
        ("[[listen]]\naddress = 'unix:'", "ctld.toml:2: listen[0].address: 'unix:' is no address: the path is missing"),
        ("[[listen]]\naddress = '/a'\nmode = 'rw'", "ctld.toml:3: listen[0].mode: "),
        ("[[listen]]\naddress = 'tcp:[::1]:0'\ntls_key = 'k'", "ctld.toml:3: listen[0].tls_key: tcp speaks no TLS"),
        ("[[listen]]\naddress = 'tls:[::1]:0'\ntls_key = 'k'", "ctld.toml:1: listen[0].tls_certificate: is missing"),
        ("[[listen]]\naddress = '/a'\ngroup = 'no such'", "ctld.toml:3: listen[0].group: there is no group 'no such'"),
        ("[[listen]]\naddress = '/a'\nrole = 'king'", "ctld.toml:3: listen[0].role: 'king' is none of "),
        (
            "[[listen]]\naddress = '/a'\n[[listen]]\naddress = '/b'\ndialect = 'klingon'",
            "ctld.toml:5: listen[1].dialect: 'klingon' is no dialect; there are native",
        ),
        ("[[listen]]\naddress = '/a'\ndialect = 7", "ctld.toml:3: listen[0].dialect: expected string, got integer"),
        (
            "[[listen]]\naddress = '/a'\nmoode = '0600'",
            "ctld.toml:3: listen[0].moode: there is no such key; did you mean mode?",
        ),
        ("[[listen]]\naddress = 5", "ctld.toml:2: listen[0].address: expected string, got integer"),
    ],
)
def test_a_mistake_names_file_line_and_key(write, text, message):
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert str(caught.value).replace(path, "ctld.toml").startswith(message)


@pytest.mark.parametrize(
    ("settings", "environ", "uid", "expected"),
    [
        ({}, {}, 0, ("/run/ctld", "/var/lib/ctld")),
        ({}, {"STATE_DIRECTORY": "/s/a:/s/b"}, 0, ("/run/ctld", "/s/a")),
        ({"state_dir": "/mine"}, {"STATE_DIRECTORY": "/s"}, 0, ("/run/ctld", "/mine")),
        ({"runtime_dir": "/r"}, {}, 0, ("/r", "/r/state")),
        ({}, {"XDG_RUNTIME_DIR": "/run/user/7"}, 7, ("/run/user/7/ctld", "/run/user/7/ctld/state")),
        ({"runtime_dir": "/r"}, {"XDG_RUNTIME_DIR": "/x"}, 7, ("/r", "/r/state")),
    ],
)
def test_where_the_daemon_lives(settings, environ, uid, expected):
    assert places(DaemonSettings(**settings), environ, uid) == expected


@pytest.mark.parametrize("environ", [{}, {"XDG_RUNTIME_DIR": "relative"}])
def test_nothing_says_where(environ):
    with pytest.raises(ConfigError, match="say --runtime-dir, or set XDG_RUNTIME_DIR"):
        places(DaemonSettings(), environ, 7)
