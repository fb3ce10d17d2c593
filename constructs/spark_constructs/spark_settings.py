"""Which `spark.*` settings a person may not give, because they would switch a protection off.

The same rules hold in the deployment configuration and on the command line of `sparkvault submit`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RefusedSetting:
    """A setting that was refused: which rule it breaks and what to do instead."""

    key: str
    value: str
    rule: str
    remedy: str


#: Boolean settings that must stay on. Source: Spark's security documentation.
_MUST_BE_TRUE = (
    "spark.authenticate",
    "spark.network.crypto.enabled",
    "spark.io.encryption.enabled",
    "spark.hadoop.fs.s3a.connection.ssl.enabled",
)

#: Boolean settings that must stay off.
_MUST_BE_FALSE = (
    "spark.network.crypto.saslFallback",
    "spark.authenticate.enableSaslEncryption",
    "spark.master.rest.enabled",
)

#: Settings that sparkvault decides itself on every target.
_OWNED = (
    "spark.master",
    "spark.submit.deployMode",
    "spark.app.id",
    "spark.network.crypto.cipher",
    "spark.network.crypto.authEngineVersion",
    "spark.io.encryption.keySizeBits",
    "spark.redaction.regex",
    # These would open the driver to the network, or let anybody who reaches a web UI end jobs.
    "spark.driver.host",
    "spark.driver.bindAddress",
    "spark.eventLog.dir",
    "spark.acls.enable",
    "spark.ui.killEnabled",
    "spark.ui.filters",
    "spark.ui.reverseProxy",
    "spark.remote",
    "spark.api.mode",
)

#: Settings whose value is a secret: they would stand in templates, logs and command lines.
_SECRETS = (
    "spark.authenticate.secret",
    "spark.authenticate.secret.file",
    "spark.authenticate.secret.driver.file",
    "spark.authenticate.secret.executor.file",
    "spark.hadoop.fs.s3a.access.key",
    "spark.hadoop.fs.s3a.secret.key",
    "spark.hadoop.fs.s3a.session.token",
)
_SECRET_SUFFIXES = (".password", ".keypassword", ".keystorepassword", ".truststorepassword", ".secret.key")

#: JVM options that open a port or an agent into the process.
_JVM_BACK_DOORS = ("-agentlib:", "-agentpath:", "-javaagent:", "-Xrunjdwp", "-Dcom.sun.management.jmxremote")


def refused_settings(settings: Mapping[str, object]) -> Iterator[RefusedSetting]:
    """Yield every setting that would weaken the cluster, with its rule and remedy.

    Keys are matched without regard to case, as Hadoop's and Spark's aliases are easily written differently.
    """
    for key, raw in settings.items():
        value = "true" if raw is True else "false" if raw is False else str(raw)
        refusal = _refusal(key.strip(), value.strip())
        if refusal is not None:
            rule, remedy = refusal
            shown = "(not shown: it may be a secret)" if _is_secret(key.strip().lower()) else value
            yield RefusedSetting(key, shown, rule, remedy)


def rules_as_data() -> dict[str, list[str]]:
    """The rules for programs that cannot import this module; names and options in lower case, as they are compared."""
    return {
        "must_be_true": sorted(name.lower() for name in _MUST_BE_TRUE),
        "must_be_false": sorted(name.lower() for name in _MUST_BE_FALSE),
        "owned": sorted(name.lower() for name in _OWNED),
        "secrets": sorted(name.lower() for name in _SECRETS),
        "secret_suffixes": sorted(_SECRET_SUFFIXES),
        "jvm_back_doors": sorted(option.lower() for option in _JVM_BACK_DOORS),
    }


def _is_secret(key: str) -> bool:
    return key in {name.lower() for name in _SECRETS} or key.endswith(_SECRET_SUFFIXES)


def _refusal(key: str, value: str) -> tuple[str, str] | None:
    name = key.lower()
    if not name.startswith("spark."):
        return "Spark settings start with 'spark.'", f"write 'spark.{key}' or remove it"
    if _is_secret(name):
        return (
            "a secret may not stand in a configuration, a template or a command line",
            "remove it: sparkvault makes the RPC secret itself, and S3 is reached by the tenant's role",
        )
    if name in {setting.lower() for setting in _OWNED}:
        return "sparkvault decides this setting on every target", "remove it"
    if name in {setting.lower() for setting in _MUST_BE_TRUE} and value.lower() != "true":
        return "this protection may not be switched off", "remove it, or set it to true"
    if name in {setting.lower() for setting in _MUST_BE_FALSE} and value.lower() != "false":
        return "this would weaken authentication or encryption", "remove it, or set it to false"
    if name.endswith("javaoptions") or name.endswith("defaultjavaoptions"):
        for option in _JVM_BACK_DOORS:
            if option.lower() in value.lower():
                return f"the JVM option {option} opens a way into the process", "remove that option"
        if "-Dspark." in value:
            return "it would set a Spark setting past these checks", "give settings as settings"
    return None
