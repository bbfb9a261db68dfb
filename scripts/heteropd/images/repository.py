"""A bare git repository in the cache: commits of one remote, fetched alone, picked, written out as files."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from heteropd.config.pins import Pick
from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.system import CommandRunner, Completed

_FETCH_S = 3600.0
_LOCAL_S = 600.0
# Nothing of a user's git may decide what a tree becomes: no hooks, filters, signatures or line endings.
_OURS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
_WHO = ("-c", "user.name=heteropd", "-c", "user.email=heteropd@localhost", "-c", "core.hooksPath=/dev/null")


@dataclass(frozen=True)
class Repository:
    """``where``: the file that asks for its commits, for messages; ``epoch``: time of all that is made."""

    bare: Path
    remote: str
    where: str
    runner: CommandRunner
    environ: Mapping[str, str]
    epoch: int

    @contextmanager
    def held(self) -> Iterator[None]:
        """Made if need be, and nobody else's while this lasts: git refuses two fetches at a time."""
        self.bare.mkdir(parents=True, exist_ok=True)
        with FileLock(self.bare / "heteropd.lock"):
            if not (self.bare / "HEAD").exists():
                self._ours("init", "--quiet", "--bare", str(self.bare))
            yield

    def fetch(self, commit: str, *, parents: int) -> str:
        """The commit, with so many generations of parents and no more where the remote allows that.

        Raises BadInput when the remote cannot be reached, or has no such commit.
        """
        if self._has(commit, parents):
            return commit
        fetched = self._remotely("--depth", str(parents + 1), self.remote, commit)
        if re.search(r"unadvertised object|find remote ref|not allow", fetched.err):
            fetched = self._remotely(self.remote, "+refs/*:refs/remote/*")  # an old server: everything it has
        if fetched.code != 0 and "not our ref" not in fetched.err:
            fix = "check the network, or name a mirror in env/mirrors.yaml"
            problem = f"cannot be fetched from ({fetched.why})"
            raise BadInput(self.where, "remote", self.remote, problem, fix)
        if not self._has(commit, parents):
            fix = "correct the commit, or the mirror that lacks it (env/mirrors.yaml)"
            raise BadInput(self.where, "commit", commit, f"is not in {self.remote}", fix)
        return commit

    def pick(self, onto: str, pick: Pick) -> str:
        """The commit that ``pick`` becomes on top of ``onto``. Raises BadInput where they conflict."""
        options = [f"-X{pick.prefer}"] if pick.prefer else []
        when = f"{self.epoch} +0000"
        with TemporaryDirectory(prefix="heteropd-pick-") as scratch:
            work = str(Path(scratch) / "work")
            try:
                self._ours("worktree", "add", "--quiet", "--force", "--detach", work, onto)
                words = ["git", "-C", work, *_WHO, "cherry-pick", "--allow-empty", *options, pick.commit]
                picked = self._run(words, {**_OURS, "GIT_COMMITTER_DATE": when})
                if picked.code != 0:
                    self._refuse(onto, pick, work, picked)
                return self._ours("-C", work, "rev-parse", "HEAD")
            finally:
                self._ours("worktree", "remove", "--force", work, check=False)

    def tree_of(self, commit: str) -> str:
        """The hash of the commit's tree: the same wherever, whenever and by whomever it was made."""
        return self._ours("rev-parse", f"{commit}^{{tree}}")

    def changed(self, old: str, new: str) -> list[str]:
        """The files in which two commits differ."""
        return self._ours("diff", "--name-only", "--no-renames", old, new).splitlines()

    def export(self, commit: str, folder: Path) -> None:
        """Write the commit's files into a new ``folder``, all of one time. Submodules stay empty folders."""
        folder.mkdir(parents=True)
        with TemporaryDirectory(prefix="heteropd-index-") as scratch:
            index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            self._ours("read-tree", commit, extra=index)
            self._ours(f"--work-tree={folder}", "checkout-index", "--all", "--force", extra=index)
        for path in [*folder.rglob("*"), folder]:
            os.utime(path, (self.epoch, self.epoch), follow_symlinks=False)

    def _has(self, commit: str, parents: int) -> bool:
        trees = [f"{commit}{'^' * back}^{{tree}}" for back in range(parents + 1)]
        return all(self._run(self._git("cat-file", "-e", tree), _OURS).code == 0 for tree in trees)

    def _refuse(self, onto: str, pick: Pick, work: str, picked: Completed) -> None:
        files = self._ours("-C", work, "diff", "--name-only", "--diff-filter=U", check=False).split()
        what = f"conflicts with {onto[:12]} in {', '.join(files)}" if files else picked.why
        fix = "add the commits that it builds on before it, or 'prefer: theirs'"
        raise BadInput(self.where, f"pick of {pick.change}", pick.commit, what, fix)

    def _remotely(self, *words: str) -> Completed:
        """Fetch, with the user's own git settings: they know proxies and credentials."""
        argv = self._git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", *words)
        return self._run(argv, {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}, _FETCH_S)

    def _ours(self, *words: str, check: bool = True, extra: Mapping[str, str] | None = None) -> str:
        argv = ["git", *words] if words[0] in ("-C", "init") else self._git(*words)
        done = self._run(argv, {**_OURS, **(extra or {})})
        if check and done.code != 0:
            raise KitError(f"{self.bare}: git {words[0]}: {done.why}; remove that folder and try again")
        return done.out.strip()

    def _git(self, *words: str) -> list[str]:
        return ["git", f"--git-dir={self.bare}", *words]

    def _run(self, argv: list[str], extra: Mapping[str, str], timeout_s: float = _LOCAL_S) -> Completed:
        # What reaches a remote is the user's: GIT_SSH_COMMAND, GIT_SSL_CAINFO, GIT_PROXY_COMMAND.
        ours = re.compile("GIT_(?!SSH|SSL|PROXY|HTTP)")
        kept = {name: value for name, value in self.environ.items() if not ours.match(name)}
        done = self.runner.run(argv, env={**kept, **extra}, timeout_s=timeout_s)
        if done.code == 127:
            raise MissingPrerequisite("git is missing", "install it (Debian, Ubuntu: apt install git)")
        return done
