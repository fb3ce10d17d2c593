"""What the configuration gives each tenant, in the terms of the constructs."""

from spark_constructs.config import Deployment
from spark_constructs.tenant_permissions import TenantCatalog, TenantData


def tenant_data(deployment: Deployment, tenant: str) -> tuple[TenantData, ...]:
    """The buckets that name the tenant, or name nobody."""
    return tuple(
        TenantData(each.bucket, each.prefix, each.mode == "read-write", each.key)
        for each in deployment.data
        if not each.tenants or tenant in each.tenants
    )


def tenant_catalog(deployment: Deployment) -> TenantCatalog | None:
    """The catalog's databases."""
    glue = deployment.glue
    return TenantCatalog(tuple(glue.databases), glue.account) if glue.enabled else None
