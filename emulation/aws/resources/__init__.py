"""The resource types that the embedded CloudFormation has, each acting through the account's own APIs.

To add one: subclass `provider.Provider` in the module of its service, and it is registered by its `type_name`.
"""
