from ctld.commands.builtins import builtin_commands

WANTED = {
    "ping": "anyone",
    "version": "anyone",
    "status": "observe",
    "describe": "anyone",
    "can_i": "anyone",
    "shutdown": "admin",
    "connection_list": "observe",
    "task_list": "observe",
    "op_list": "observe",
    "op_watch": "anyone",
    "op_wait": "anyone",
    "op_cancel": "anyone",
}


def test_the_built_in_commands_and_their_roles():
    roles = {command.name: command.role for command in builtin_commands()}
    assert {name: roles.get(name) for name in WANTED} == WANTED


def test_every_built_in_command_is_documented_and_compiles():
    for command in builtin_commands().resolve().values():
        assert command.doc, command.name
        assert command.options_schema["type"] == "object"
        for name, option in command.options_schema["properties"].items():
            assert name.isidentifier(), (command.name, option)


def test_each_call_makes_another_registry():
    assert builtin_commands() is not builtin_commands()
