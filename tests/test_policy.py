import re
import timeit
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.accounts import Accounts
from ctld.errors import ConfigError
from ctld.peer import Peer
from ctld.policy import ROLES, Policy, at_least

USERS = {"root": 0, "alice": 1000, "bob": 1001, "also-bob": 1001, "ctld": 900}
GROUPS = {"root": 0, "users": 100, "wheel": 10, "ops": 11}


class KnownAccounts(Accounts):
    """The accounts of an invented machine."""

    def user_name(self, uid):
        return next((name for name, number in USERS.items() if number == uid), "")

    def group_name(self, gid):
        return next((name for name, number in GROUPS.items() if number == gid), "")

    def uid_of(self, name):
        return USERS.get(name)

    def gid_of(self, name):
        return GROUPS.get(name)


def policy(roles=None, own_uid=900):
    return Policy(roles, accounts=KnownAccounts(), own_uid=own_uid)


def local(uid, *groups, gid=100):
    return Peer(uid=uid, gid=gid, groups=frozenset(groups), transport="unix")


ALICE = local(1000)


class TestRoles:
    def test_are_ordered_lowest_first(self):
        assert ROLES == ("anyone", "observe", "operate", "admin")

    @pytest.mark.parametrize(("role", "needed"), [(role, needed) for role in ROLES for needed in ROLES])
    def test_a_role_includes_those_below_it(self, role, needed):
        assert at_least(role, needed) is (ROLES.index(role) >= ROLES.index(needed))


class TestWhichRuleDecides:
    def test_nobody_named_gets_the_listener_s_role(self):
        grant = policy().role_of(ALICE, "observe")
        assert (grant.role, grant.rule) == ("observe", "the listener's role")

    def test_and_the_lowest_role_without_one(self):
        assert policy().role_of(ALICE).role == "anyone"

    @pytest.mark.parametrize("principal", ["uid:1000", "user:alice", "gid:100", "group:users"])
    def test_each_kind_of_principal_matches(self, principal):
        grant = policy({"operate": [principal]}).role_of(ALICE, "admin")
        assert (grant.role, grant.rule) == ("operate", principal)

    @pytest.mark.parametrize("principal", ["uid:1001", "user:bob", "gid:10", "group:wheel", "cert:alice"])
    def test_each_kind_of_principal_leaves_others_alone(self, principal):
        assert policy({"operate": [principal]}).role_of(replace(ALICE, name="alice")).role == "anyone"

    def test_a_supplementary_group_counts(self):
        assert policy({"operate": ["group:wheel"]}).role_of(local(1000, 10)).role == "operate"

    def test_a_uid_wins_over_a_user_name(self):
        rules = {"admin": ["user:alice"], "observe": ["uid:1000"]}
        assert policy(rules).role_of(ALICE).role == "observe"
        assert policy(dict(reversed(rules.items()))).role_of(ALICE).role == "observe"

    def test_a_user_wins_over_his_groups(self):
        rules = {"admin": ["group:users", "gid:10"], "observe": ["user:alice"]}
        assert policy(rules).role_of(local(1000, 10)).role == "observe"

    def test_the_highest_of_several_groups_wins(self):
        rules = {"observe": ["group:users"], "admin": ["gid:10"], "operate": ["group:ops"]}
        for order in (rules, dict(reversed(rules.items()))):
            grant = policy(order).role_of(local(1000, 10, 11))
            assert (grant.role, grant.rule) == ("admin", "gid:10")

    def test_the_highest_of_two_rules_about_one_group_wins(self):
        for rules in (
            {"observe": ["gid:100"], "operate": ["group:users"]},
            {"observe": ["group:users"], "operate": ["gid:100"]},
        ):
            assert policy(rules).role_of(ALICE).role == "operate"

    def test_the_highest_of_two_names_of_one_user_wins(self):
        for rules in (
            {"observe": ["user:bob"], "operate": ["user:also-bob"]},
            {"operate": ["user:bob"], "observe": ["user:also-bob"]},
        ):
            assert policy(rules).role_of(local(1001)).role == "operate"

    def test_a_rule_may_give_less_than_the_listener(self):
        assert policy({"anyone": ["user:alice"]}).role_of(ALICE, "operate").role == "anyone"

    def test_a_certificate_names_a_tls_peer(self):
        rules = policy({"operate": ["cert:backup.example"]})
        assert rules.role_of(Peer(name="backup.example", transport="tls")).role == "operate"
        assert rules.role_of(Peer(name="other.example", transport="tls"), "observe").role == "observe"

    @pytest.mark.parametrize("transport", ["tcp", "unix", ""])
    def test_a_name_without_tls_is_no_certificate(self, transport):
        assert policy({"admin": ["cert:backup"]}).role_of(Peer(name="backup", transport=transport)).role == "anyone"

    def test_a_tls_peer_without_certificate_has_no_name_to_match(self):
        assert policy({"admin": ["cert:x"]}).role_of(Peer(transport="tls")).role == "anyone"

    def test_the_daemon_itself_keeps_its_role(self):
        assert policy({"anyone": ["uid:0"]}).role_of(Peer.DAEMON).role == "admin"


class TestRootAndTheOwnUser:
    def test_both_are_admin(self):
        rules = policy()
        assert rules.role_of(local(0)).role == rules.role_of(local(900)).role == "admin"
        assert rules.role_of(local(0)).rule == "root is admin"

    def test_the_own_uid_is_that_of_the_process_by_default(self, monkeypatch):
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        assert Policy(accounts=KnownAccounts()).role_of(ALICE).role == "admin"

    @pytest.mark.parametrize("principal", ["uid:0", "user:root"])
    def test_a_rule_that_names_root_lowers_it(self, principal):
        assert policy({"observe": [principal]}).role_of(local(0)).role == "observe"

    def test_a_rule_that_names_the_own_user_lowers_it(self):
        assert policy({"observe": ["user:ctld"]}).role_of(local(900)).role == "observe"

    def test_a_rule_about_their_group_does_not(self):
        rules = policy({"observe": ["group:root", "gid:100"]})
        assert rules.role_of(local(0, gid=0)).role == rules.role_of(local(900)).role == "admin"


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            ("alice", 'write "user:alice", "group:alice" or "cert:alice"'),
            ("uid:alice", "a name goes with user:"),
            ("gid:wheel", "a name goes with group:"),
            ("uid:-1", "needs a number"),
            ("uid:4294967295", "needs a number"),
            ("uid:" + "9" * 5000, "needs a number"),
            ("uid:\uff11", "needs a number"),
            ("uid:", "is no principal"),
            ("user:", "is no principal"),
            (":alice", "is no principal"),
            ("", "is no principal"),
            ("role:admin", "is no principal"),
            ("x" * 5000, "does not say what it is"),
        ],
    )
    def test_a_mistaken_principal_is_named_with_a_hint(self, text, hint):
        with pytest.raises(ConfigError) as caught:
            policy({"admin": [text]})
        message = str(caught.value)
        assert hint in message
        assert text[:100] in message
        assert len(message) < 300

    def test_a_terminal_is_not_harmed(self):
        with pytest.raises(ConfigError) as caught:
            policy({"admin": ["\x1b[2J\n\u202e"]})
        assert str(caught.value) == r'roles: "\u001b[2J\n\u202e" does not say what it is'

    def test_the_last_number_of_a_user_is_fine(self):
        assert policy({"observe": ["uid:4294967294"]}).role_of(local(4294967294)).role == "observe"

    def test_an_unknown_role_is_named(self):
        with pytest.raises(ConfigError, match='no role "boss": the roles are anyone, observe, operate, admin'):
            policy({"boss": ["uid:1"]})

    @pytest.mark.parametrize("principals", ["uid:1", [1]])
    def test_a_role_needs_a_list_of_texts(self, principals):
        with pytest.raises(ConfigError, match="admin needs a list of texts"):
            policy({"admin": principals})

    def test_one_principal_has_one_role(self):
        with pytest.raises(ConfigError, match='"uid:7" stands under both observe and admin'):
            policy({"observe": ["uid:7"], "admin": ["uid:007"]})
        assert policy({"observe": ["uid:1000", "uid:1000"]}).role_of(ALICE).role == "observe"

    def test_a_name_that_does_not_exist_matches_nobody_and_is_reported(self):
        rules = policy({"admin": ["user:carol", "group:staff", "user:alice"]})
        assert rules.role_of(ALICE).role == "admin"
        assert rules.role_of(local(65534)).role == "anyone"
        assert sorted(rules.warnings) == [
            "'group:staff' in admin matches nobody: there is no such group on this machine",
            "'user:carol' in admin matches nobody: there is no such user on this machine",
        ]

    def test_names_are_looked_up_on_this_machine_by_default(self):
        assert Policy({"observe": ["user:root"]}).role_of(local(0)).role == "observe"


class TestDecisions:
    def test_what_is_allowed_says_no_more(self):
        decision = policy().decide(replace(ALICE, role="operate"), "observe")
        assert (decision.allowed, decision.role, decision.needed) == (True, "operate", "observe")
        assert decision.remedy == decision.rule == ""

    def denial(self, roles, peer, needed, fallback="anyone"):
        rules = policy(roles)
        decision = rules.decide(replace(peer, role=rules.role_of(peer, fallback).role), needed)
        assert not decision.allowed
        assert decision.needed == needed
        return decision

    def test_a_group_that_helps_is_the_remedy(self):
        decision = self.denial({"admin": ["group:wheel"]}, ALICE, "operate")
        assert decision.remedy == "join the group wheel and log in again, or run it as root"
        assert decision.rule == "the listener's role"

    def test_the_least_powerful_group_that_helps(self):
        rules = {"admin": ["group:wheel"], "operate": ["group:ops"], "observe": ["group:users"]}
        assert "the group ops " in self.denial(rules, ALICE, "operate").remedy
        assert self.denial(rules, ALICE, "operate").rule == "group:users"

    def test_no_group_without_a_name(self):
        assert "user:alice" in self.denial({"admin": ["gid:77"]}, ALICE, "operate").remedy

    def test_no_group_helps_whom_a_rule_names(self):
        decision = self.denial({"admin": ["group:wheel"], "observe": ["user:alice"]}, ALICE, "operate")
        assert decision.remedy == 'move "user:alice" from observe to operate under [roles], or run it as root'

    def test_a_rule_is_the_remedy_where_no_group_helps(self):
        remedy = self.denial({}, ALICE, "admin").remedy
        assert remedy == 'add "user:alice" to admin under [roles], or run it as root'

    def test_a_nameless_user_goes_by_number(self):
        assert 'add "uid:4711" to' in self.denial({}, local(4711), "admin").remedy

    def test_a_user_whose_name_leads_elsewhere_goes_by_number(self):
        class Confused(KnownAccounts):
            def user_name(self, uid):
                return "alice"

        rules = Policy(accounts=Confused(), own_uid=900)
        assert 'add "uid:4711" to' in rules.decide(local(4711), "admin").remedy

    def test_root_is_no_remedy_where_a_rule_lowers_it(self):
        assert "root" not in self.denial({"anyone": ["uid:0"]}, ALICE, "admin").remedy
        assert (
            self.denial({"anyone": ["uid:0"]}, local(0), "admin").remedy
            == 'move "uid:0" from anyone to admin under [roles]'
        )

    def test_a_certificate_is_named(self):
        peer = Peer(name='a "b"', transport="tls")
        assert self.denial({}, peer, "admin").remedy == r'add "cert:a \"b\"" to admin under [roles]'
        rules = {"observe": ['cert:a "b"']}
        assert self.denial(rules, peer, "admin").remedy == r'move "cert:a \"b\"" from observe to admin under [roles]'

    def test_a_certificate_joins_no_group(self):
        peer = Peer(name="backup", transport="tls")
        assert (
            self.denial({"admin": ["group:wheel"]}, peer, "admin").remedy == 'add "cert:backup" to admin under [roles]'
        )

    def test_a_remedy_can_be_pasted_into_a_toml_file(self):
        peer = Peer(name='\U0001d400 "ž" \\', transport="tls")
        quoted = re.search(r"add (.*) to admin", self.denial({}, peer, "admin").remedy)[1]
        assert tomllib.loads(f"x = {quoted}") == {"x": f"cert:{peer.name}"}

    @pytest.mark.parametrize("transport", ["tcp", "tls"])
    def test_who_cannot_be_named_is_told_so(self, transport):
        remedy = self.denial({}, Peer(transport=transport), "operate").remedy
        assert remedy == f'{transport} does not tell who asks: use a UNIX socket, or a listener with role = "operate"'

    def test_a_role_that_a_login_lowered(self):
        decision = policy({"admin": ["user:alice"]}).decide(replace(ALICE, role="observe"), "operate")
        assert not decision.allowed
        assert decision.remedy == "connect again"
        assert decision.rule == "the daemon gave this connection its role"

    def test_a_role_that_a_login_raised_but_not_enough(self):
        decision = policy({"anyone": ["user:alice"]}).decide(replace(ALICE, role="observe"), "operate")
        assert decision.remedy == 'move "user:alice" from anyone to operate under [roles], or run it as root'

    def test_deciding_costs_next_to_nothing(self):
        # Generous, because the machine is shared: what it must not do is build anything.
        rules, peer = policy(), replace(ALICE, role="operate")
        assert rules.decide(peer, "observe") is rules.decide(peer, "observe")
        best = min(timeit.repeat(lambda: rules.decide(peer, "observe"), number=2000, repeat=20)) / 2000
        assert best < 2e-6


@given(st.text(max_size=300) | st.from_regex(r"(uid|user|gid|group|cert):.*", fullmatch=True))
def test_any_text_is_a_principal_or_a_mistake_in_one_line(text):
    try:
        policy({"admin": [text]})
    except ConfigError as error:
        message = str(error)
        assert message.isprintable()
        assert len(message) < 600


principals = st.sampled_from(
    [f"uid:{uid}" for uid in (0, 900, 1000, 1001, 5)]
    + [f"user:{name}" for name in USERS]
    + [f"gid:{gid}" for gid in (0, 10, 11, 100)]
    + [f"group:{name}" for name in GROUPS]
    + ["cert:a", "cert:b"]
)
rule_sets = st.dictionaries(principals, st.sampled_from(ROLES), max_size=8)
peers = st.one_of(
    st.builds(
        Peer,
        uid=st.sampled_from([0, 5, 900, 1000, 1001]),
        gid=st.sampled_from([0, 100]),
        groups=st.frozensets(st.sampled_from([0, 10, 11, 77])),
        transport=st.just("unix"),
    ),
    st.builds(Peer, name=st.sampled_from(["", "a", "b"]), transport=st.sampled_from(["tls", "tcp"])),
)


def as_roles(rules):
    return {role: [principal for principal, its in rules.items() if its == role] for role in ROLES}


SPECIFICITY = {"uid": 0, "user": 1, "gid": 2, "group": 2, "cert": 3}


def matches(principal, peer):
    kind, _, name = principal.partition(":")
    if kind == "cert":
        return peer.transport == "tls" and peer.name == name
    if peer.uid is None:
        return False
    if kind in ("uid", "user"):
        return peer.uid == (int(name) if kind == "uid" else USERS[name])
    return (int(name) if kind == "gid" else GROUPS[name]) in {peer.gid, *peer.groups}


@given(rule_sets, peers, st.sampled_from(ROLES))
def test_the_most_specific_rule_wins(rules, peer, fallback):
    matching = [
        (SPECIFICITY[principal.partition(":")[0]], principal) for principal in rules if matches(principal, peer)
    ]
    best = min((rank for rank, _ in matching), default=9)
    if best >= 2 and peer.uid in (0, 900):
        wanted = "admin"
    elif matching:
        wanted = max((rules[principal] for rank, principal in matching if rank == best), key=ROLES.index)
    else:
        wanted = fallback
    assert policy(as_roles(rules)).role_of(peer, fallback).role == wanted


@given(peers, st.sampled_from(ROLES), st.sampled_from(ROLES), st.sampled_from(ROLES))
def test_a_higher_role_never_loses_a_right(peer, low, high, needed):
    if not at_least(high, low):
        low, high = high, low
    rules = policy()
    if rules.decide(replace(peer, role=low), needed).allowed:
        assert rules.decide(replace(peer, role=high), needed).allowed


@given(rule_sets, peers, st.sampled_from(ROLES), st.sampled_from(ROLES))
def test_every_remedy_is_true(rules, peer, fallback, needed):
    before = policy(as_roles(rules))
    decision = before.decide(replace(peer, role=before.role_of(peer, fallback).role), needed)
    if decision.allowed:
        return
    remedy, _, as_root = decision.remedy.partition(", or run it as root")
    if decision.remedy.endswith("as root"):
        assert at_least(before.role_of(local(0)).role, needed)
        assert as_root == ""
    if found := re.fullmatch(r"join the group (\S+) and log in again", remedy):
        after = before.role_of(replace(peer, groups=peer.groups | {GROUPS[found[1]]}), fallback)
    elif found := re.fullmatch(r'(?:add|move) "(\S+)" (?:from \S+ )?to (\S+) under \[roles\]', remedy):
        assert found[0].startswith("move") == (found[1] in rules)
        after = policy(as_roles(rules | {found[1]: found[2]})).role_of(peer, fallback)
    else:
        assert re.search(r'a listener with role = "(\S+)"$', remedy)[1] == needed
        after = before.role_of(peer, needed)
    assert at_least(after.role, needed)


class TestWhoHasWhat:
    def test_lists_rules_as_they_are_written(self):
        rules = policy({"observe": ["group:users", "user:nobody-here"], "operate": ["cert:robot"]})
        assert rules.callers("observe") == ["group:users", "user:nobody-here"]
        assert rules.callers("operate") == ["cert:robot"]
        assert rules.callers("anyone") == []

    def test_unwritten_rules_are_listed_too_unless_others_stand_in_their_place(self):
        assert policy({"admin": ["group:wheel"]}).callers("admin") == ["group:wheel", "uid:0", "uid:900"]
        assert policy(own_uid=0).callers("admin") == ["uid:0"]
        assert policy({"observe": ["user:root"]}).callers("admin") == ["uid:900"]

    def test_nobody_can_change_it(self):
        rules = policy()
        rules.callers("admin").clear()
        assert rules.callers("admin")
