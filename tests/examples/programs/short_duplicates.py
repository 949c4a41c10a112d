"""Duplicate files, without bar and table: prints each group, and exits with 1 if there are any."""

import sys
from collections import defaultdict

from mountain_runtime import Effect, Err, Ok, Runtime, amap, fs, run


async def main(rt: Runtime) -> int:
    sizes: defaultdict[int, list[str]] = defaultdict(list)
    async for entry in fs.walk(sys.argv[1]):
        if entry.is_file and entry.size:
            sizes[entry.size].append(entry.path)
    candidates = [path for same in sizes.values() if len(same) > 1 for path in same]

    def digest(path: str) -> Effect[Ok[bytes] | Err[OSError]]:
        return fs.hash(path).attempt(OSError)

    contents: defaultdict[bytes, list[str]] = defaultdict(list)
    async with amap(digest, candidates, limit=64) as results:
        async for path, result in results:
            match result:
                case Ok(value=content):
                    contents[content].append(path)
                case Err(error=error):
                    print(f"skipped {path}: {error.strerror}", file=sys.stderr)
    groups = [sorted(paths) for paths in contents.values() if len(paths) > 1]
    for group in sorted(groups):
        print(*group, sep="\n  = ")
    return 1 if groups else 0


sys.exit(run(main))
