"""What every host needs, whatever its engines run on. Numbers: failure modes."""

from infra_facts import judge, reading
from infra_facts.fixtures import not_needed


def test_host_answers(examined):
    """Nothing is known of a host that does not answer, and nothing can be started there."""
    assert not examined.facts.trouble, examined.facts.trouble


def test_announced_addresses_are_its_own(doctor, examined):
    """A peer asks at the announced address: another machine's reaches nobody, or the wrong one (16)."""
    if not examined.target.announced:
        not_needed("no engine is planned here")
    doctor("T2-16-side-channel-address")


def test_shared_memory_is_large_enough(doctor, examined):
    """vLLM's processes talk through /dev/shm; a container's default of 64 MB is too small."""
    if not examined.target.engines:
        not_needed("no engine is planned here")
    doctor("T2-54-shared-memory")


def test_memory_is_free(doctor, examined):
    """An engine that runs out of memory is killed by the kernel without a word in its log."""
    if not examined.target.engines or examined.target.serves:
        not_needed(
            "engines run here and have theirs" if examined.target.serves else "no engine is planned here"
        )
    doctor("T2-52-memory")


def test_disk_is_free_for_the_model(doctor, examined, plan):
    """A model that does not fit stops half-way through its download."""
    if not examined.target.engines or examined.target.serves:
        not_needed(
            "the engines here have their model" if examined.target.serves else "no engine is planned here"
        )
    if plan.model_source.startswith(("/", "package:")):
        not_needed("the model is a folder that is there already, or one that the kit makes")
    doctor("T2-53-disk")


def test_model_folder_is_there(doctor, examined):
    """The same path must lead to the same model on both hosts."""
    if not examined.target.model:
        not_needed("the plan names no folder of this host as its model")
    doctor("T2-55-model")


def test_clock_agrees_with_this_machines(host, examined, checks, unknown):
    """Logs of two hosts are read side by side, to see which lease ran out first."""
    if host.backend.NAME == "local":
        not_needed("this is this machine's clock")
    if examined.facts.ahead is None:
        unknown("the host's time: `date +%s.%N` printed no number")
    least, most = examined.facts.ahead
    skew, limit = max(least, -most, 0.0), checks.limits.clock_skew_s
    assert skew <= limit, (
        f"the host's clock is at least {skew:.1f} s from this machine's, {limit:g} s at most"
    )


def test_huge_pages(host, unknown):
    """No plan asks for huge pages, but pages that are reserved are missing elsewhere: said, not judged."""
    done = reading.Through(host).run(["grep", "HugePages_", "/proc/meminfo"])
    pages = judge.huge_pages(done.out)
    if pages is None:
        unknown("the number of huge pages in /proc/meminfo")
    not_needed(f"no plan asks for huge pages; {pages[0]} are reserved, {pages[1]} of them free")
