"""The rooms of `rpc`: each imports only what lies below it."""

from tests.public.test_floors import MODULES, PACKAGE, imported

#: Of `rpc`, from below; a room imports none above it. The empty name is what stands in no room.
RPC_ROOMS = ["_messages", "_wires", "_record", "_commands", "_sessions", ""]


def test_rooms_of_rpc_import_what_lies_below_them() -> None:
    rooms = {name: (name.split(".")[1] if name.count(".") > 1 else "") for name in MODULES if name.startswith("rpc.")}
    folders = {folder.name for folder in (PACKAGE / "rpc").iterdir() if (folder / "__init__.py").exists()}
    assert folders | {""} == set(RPC_ROOMS)
    upwards = [
        f"{name} imports {target}"
        for name, room in rooms.items()
        for target in imported(name)
        if target in rooms and RPC_ROOMS.index(rooms[target]) > RPC_ROOMS.index(room)
    ]
    assert upwards == []
