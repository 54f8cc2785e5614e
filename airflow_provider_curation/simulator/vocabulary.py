"""The made-up tenant: its packages, repositories, people and policies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from random import Random
from typing import Any, Final, NamedTuple
from urllib.parse import quote


class Registry(NamedTuple):
    """A public registry of one package type; hosts are made up (``.example``)."""

    package_type: str
    weight: int
    url: str
    name: str
    path: str
    packages: tuple[str, ...]


class PackageKind(NamedTuple):
    """What one package in one repository contributes to an event; ``url`` has one ``{version}``."""

    package_type: str
    package_name: str
    url: str
    repository: str
    project: str
    public_repo_url: str
    public_repo_name: str


class Outcome(NamedTuple):
    """What the policies decided about a request."""

    action: str
    reason: str
    policies: tuple[dict[str, Any], ...]


#: Names that trip readers: quotes, commas, line breaks, separators that are not line breaks, characters beyond 16 bits.
_ODD_PACKAGES: Final = (
    "paquet-\u00e9t\u00e9\u2028x",
    'quoted-"name", with comma',
    "\u5305\u7ba1\u7406/\u6838\u5fc3",
    "rocket-\U0001f680-lib",
    "line\nbreak",
    "100%-sure<&>",
    "back\\slash\ttab\u2029",
)

#: A line for each registry: package type, how often it is used, URL, name, path of a package; below it its packages.
_REGISTRIES: Final = """
npm | 46 | https://registry.npm.example | npm registry | /{name}/-/{file}-{version}.tgz
  chokidar @marp-team/marp-core lodash react react-dom express axios chalk commander debug semver minimist
  @babel/core @babel/runtime @types/node typescript webpack eslint prettier vite rollup esbuild left-pad evil-pkg
  uuid yargs glob rimraf ws tslib
PyPI | 20 | https://files.pypi.example | PyPI | /packages/{name}/{file}-{version}-py3-none-any.whl
  requests urllib3 numpy pandas boto3 botocore setuptools certifi idna charset-normalizer pyyaml pydantic fastapi
  sqlalchemy cryptography attrs click jinja2
Maven | 12 | https://repo1.maven.example | Maven Central | /maven2/{name}/{version}/{file}-{version}.jar
  org.apache.logging.log4j:log4j-core com.fasterxml.jackson.core:jackson-databind org.slf4j:slf4j-api
  com.google.guava:guava org.springframework:spring-core junit:junit
Docker | 6 | https://registry-1.docker.example | Docker Hub | /v2/{name}/manifests/{version}
  library/alpine library/python library/node someorg/someimage library/postgres
Go | 5 | https://proxy.golang.example | Go proxy | /{name}/@v/v{version}.zip
  golang.example/x/net golang.example/x/crypto git.example/spf13/cobra git.example/stretchr/testify
NuGet | 4 | https://api.nuget.example | NuGet Gallery | /v3-flatcontainer/{name}/{version}/{file}.nupkg
  Newtonsoft.Json Serilog Dapper xunit
Gems | 2 | https://rubygems.example | RubyGems | /gems/{file}-{version}.gem
  rails rack nokogiri
Cargo | 2 | https://static.crates.example | crates | /crates/{name}/{file}-{version}.crate
  serde tokio rand syn
Conda | 1 | https://conda.anaconda.example | conda-forge | /conda-forge/noarch/{file}-{version}.conda
  numpy scipy python
Composer | 1 | https://repo.packagist.example | Packagist | /p2/{name}/{version}.zip
  symfony/console monolog/monolog
HuggingFaceML | 1 | https://huggingface.example | Hugging Face | /{name}/resolve/{version}/model.safetensors
  someorg/some-model otherorg/tiny-llm
"""

ORIGIN_SERVER: Final = "acme1"
EVENT_ORIGIN: Final = "Download to repository"


def _policy(
    id_: int, name: str, condition: str, category: str, result: str, reason: str | None = None
) -> dict[str, Any]:
    entry = {
        "policy_name": name,
        "policy_id": id_,
        "dry_run": False,
        "condition_name": condition,
        "condition_category": category,
        "result": result,
    }
    return entry if reason is None else {**entry, "policy_reason": reason}


_MALICIOUS = _policy(
    1180, 'malicious, "hard" block', "Malicious package", "security", "Blocked", "Package is known to be malicious"
)
_IMMATURE = _policy(1181, "immature", "Package version is immature (permissive)", "operational", "Blocked")
_CVE = _policy(12, "cve-critical", "CVE with CVSS score of 9 or above", "security", "Waived")
_LICENCE = _policy(13, "licence\nlegal <review> & \u00e9t\u00e9", "Package has a banned license", "legal", "Blocked")
_OFFICIAL = _policy(
    3, "only-official\u2028images", "Image is not Docker Hub official", "operational", "Bypassed", "50% of all, or more"
)

_APPROVED = Outcome("approved", "No policy violations", ())
_PASSED = Outcome("passed", "", ())
_OUTCOMES: Final = (
    (0, _APPROVED),  # the rest of the thousand
    (45, _PASSED),
    (25, Outcome("blocked", "Policy violations", (_MALICIOUS,))),
    (25, Outcome("blocked", "Policy violations", (_IMMATURE,))),
    (15, Outcome("blocked", "Policy violations", (_MALICIOUS, _IMMATURE))),
    (5, Outcome("blocked", "Policy violations", (_LICENCE, _MALICIOUS, {**_CVE, "result": "Blocked"}))),
    (10, Outcome("blocked", "Policy violations", (_LICENCE,))),
    (10, Outcome("blocked", "Pending Catalog update", ())),
    (15, Outcome("approved", "Policy violations", (_CVE,))),
    (10, Outcome("approved", "Policy violations", (_OFFICIAL, _CVE))),
)

#: Policies in dry-run mode; an event of the dry-run stream names exactly one of them.
DRY_RUN_POLICIES: Final = tuple(
    {**policy, "dry_run": True, "result": "Blocked"}
    for policy in (
        _policy(2001, "trial: immature", "Package version is immature (strict)", "operational", "Blocked"),
        _policy(2002, "trial, cve \u00fc 7", "CVE with CVSS score of 7 or above", "security", "Blocked", "CVSS 7.5"),
        _policy(2003, "trial no licence", "Package has no license", "legal", "Blocked"),
        _policy(2004, 'trial "old"', "Package version is aged", "operational", "Blocked"),
    )
)


class Vocabulary:
    """The tenant's tables; each is a power of two long, so that the bits of a hash choose from it."""

    KINDS: Final = 2048
    OUTCOMES: Final = 1024
    USERS: Final = 256
    VERSIONS: Final = 1024

    def __init__(self, seed: int) -> None:
        random = Random(f"vocabulary {seed}")
        self.kinds = _kinds(random, self.KINDS)
        self.outcomes = tuple(outcome for _, outcome in _OUTCOMES)
        self.outcome_picks = _shares([share for share, _ in _OUTCOMES], self.OUTCOMES, random)
        self.users = _users(random, self.USERS)
        self.versions = tuple(
            f"{random.randrange(12)}.{random.randrange(40)}.{random.randrange(60)}" for _ in range(self.VERSIONS)
        )


@lru_cache(maxsize=16)
def vocabulary(seed: int) -> Vocabulary:
    """Return the tables of a seed, made once: tests start many simulators."""
    return Vocabulary(seed)


def _registries() -> Iterator[Registry]:
    for block in re.split(r"\n(?=\S)", _REGISTRIES.strip()):
        line, packages = block.split("\n", 1)
        type_, weight, url, name, path = line.split(" | ")
        yield Registry(type_, int(weight), url, name, path, tuple(packages.split()))


def _kinds(random: Random, count: int) -> tuple[PackageKind, ...]:
    registries = list(_registries())
    weights = [registry.weight for registry in registries]
    kinds = []
    for number in range(count):
        registry = random.choices(registries, weights)[0]
        names = registry.packages
        # Square the draw: a few packages make most of the traffic, as on real tenants.
        name = names[int(random.random() ** 2 * len(names))]
        if number % 40 == 7:
            name = random.choice(_ODD_PACKAGES)
        elif number % 3 == 0:
            name = f"{name}-{random.choice(('core', 'utils', 'cli', 'plugin', 'api', 'test'))}{random.randrange(30)}"
        kinds.append(_kind(registry, name, random.choice(("default", "default", "payments", "web"))))
    return tuple(kinds)


def _kind(registry: Registry, name: str, project: str) -> PackageKind:
    safe = quote(name.replace(":", "/"), safe="@/")
    url = registry.url + registry.path.replace("{name}", safe)
    type_ = registry.package_type.lower()
    repository = f"acme-{type_}-remote" if project == "default" else f"{project}-{type_}-remote"
    url = url.replace("{file}", safe.rsplit("/", 1)[-1])
    return PackageKind(registry.package_type, name, url, repository, project, registry.url, registry.name)


def _users(random: Random, count: int) -> tuple[tuple[str, str], ...]:
    special = [("", ""), ("", ""), ("unknown", ""), ("admin", ""), ("ren\u00e9e@acme.example",) * 2]
    builders = [(f"build-agent-{number}", "") for number in range(20)]
    people = [(f"dev{number}@acme.example",) * 2 for number in range(count - len(special) - len(builders))]
    users = special + builders + people
    random.shuffle(users)
    return tuple(users)


def _shares(shares: list[int], count: int, random: Random) -> tuple[int, ...]:
    """Return indexes, each as often as its share of a thousand; the first takes the rest."""
    picks = [index for index, share in enumerate(shares) for _ in range(share * count // 1000)]
    picks += [0] * (count - len(picks))
    random.shuffle(picks)
    return tuple(picks)
