"""Alarms, dashboards and budgets."""

from __future__ import annotations

from typing import Any

from emulation.aws.cloudformation.errors import ResourceFailed
from emulation.aws.resources.provider import Context, Made, NeedsReplacement, Properties, Provider, tag_list, without


class Alarm(Provider):
    """A CloudWatch alarm."""

    type_name = "AWS::CloudWatch::Alarm"

    def create(self, context: Context, properties: Properties) -> Made:
        """PutMetricAlarm."""
        name = properties.get("AlarmName") or context.name(255)
        return self._put(context, name, properties)

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """PutMetricAlarm again."""
        if old.get("AlarmName") != new.get("AlarmName"):
            raise NeedsReplacement
        return self._put(context, made.physical_id, new)

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteAlarms."""
        context.try_delete("cloudwatch", "delete_alarms", {"AlarmNames": [made.physical_id]})

    def _put(self, context: Context, name: str, properties: Properties) -> Made:
        wanted = without(properties, "AlarmName", "Tags") | {"AlarmName": name}
        if properties.get("Tags"):
            wanted["Tags"] = tag_list(properties)
        context.call("cloudwatch", "put_metric_alarm", wanted)
        return Made(name, {"Arn": context.arn("cloudwatch", f"alarm:{name}")})


class Dashboard(Provider):
    """A CloudWatch dashboard."""

    type_name = "AWS::CloudWatch::Dashboard"

    def create(self, context: Context, properties: Properties) -> Made:
        """PutDashboard."""
        name = properties.get("DashboardName") or context.name(255)
        wanted = {"DashboardName": name, "DashboardBody": properties["DashboardBody"]}
        context.call("cloudwatch", "put_dashboard", wanted)
        return Made(name)

    def update(self, context: Context, made: Made, old: Properties, new: Properties) -> Made:
        """PutDashboard again."""
        if old.get("DashboardName") != new.get("DashboardName"):
            raise NeedsReplacement
        return self.create(context, dict(new) | {"DashboardName": made.physical_id})

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteDashboards."""
        context.try_delete("cloudwatch", "delete_dashboards", {"DashboardNames": [made.physical_id]})


class Budget(Provider):
    """A budget with its notifications."""

    type_name = "AWS::Budgets::Budget"

    def create(self, context: Context, properties: Properties) -> Made:
        """CreateBudget."""
        unknown = properties.keys() - {"Budget", "NotificationsWithSubscribers"}
        if unknown:
            raise ResourceFailed(f"Encountered unsupported property {', '.join(sorted(unknown))}")
        budget: dict[str, Any] = dict(properties["Budget"])
        budget.setdefault("BudgetName", context.name(100))
        wanted: dict[str, Any] = {"AccountId": context.account_id, "Budget": budget}
        if properties.get("NotificationsWithSubscribers"):
            wanted["NotificationsWithSubscribers"] = properties["NotificationsWithSubscribers"]
        context.call("budgets", "create_budget", wanted)
        return Made(budget["BudgetName"])

    def delete(self, context: Context, made: Made, properties: Properties) -> None:
        """DeleteBudget."""
        place = {"AccountId": context.account_id, "BudgetName": made.physical_id}
        context.try_delete("budgets", "delete_budget", place)
