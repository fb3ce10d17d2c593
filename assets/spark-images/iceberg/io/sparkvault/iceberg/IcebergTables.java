package io.sparkvault.iceberg;

import java.util.Map;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.spark.SparkCatalog;
import org.apache.iceberg.spark.source.HasIcebergCatalog;
import org.apache.spark.sql.catalyst.analysis.NamespaceAlreadyExistsException;
import org.apache.spark.sql.catalyst.analysis.NoSuchFunctionException;
import org.apache.spark.sql.catalyst.analysis.NoSuchNamespaceException;
import org.apache.spark.sql.catalyst.analysis.NoSuchTableException;
import org.apache.spark.sql.catalyst.analysis.NonEmptyNamespaceException;
import org.apache.spark.sql.catalyst.analysis.TableAlreadyExistsException;
import org.apache.spark.sql.connector.catalog.FunctionCatalog;
import org.apache.spark.sql.connector.catalog.Identifier;
import org.apache.spark.sql.connector.catalog.NamespaceChange;
import org.apache.spark.sql.connector.catalog.ProcedureCatalog;
import org.apache.spark.sql.connector.catalog.StagedTable;
import org.apache.spark.sql.connector.catalog.StagingTableCatalog;
import org.apache.spark.sql.connector.catalog.SupportsNamespaces;
import org.apache.spark.sql.connector.catalog.Table;
import org.apache.spark.sql.connector.catalog.TableChange;
import org.apache.spark.sql.connector.catalog.functions.UnboundFunction;
import org.apache.spark.sql.connector.catalog.procedures.UnboundProcedure;
import org.apache.spark.sql.connector.expressions.Transform;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/**
 * Iceberg's catalog without its views: Spark 4.2 refuses catalogs that offer views the way of Spark 4.1, for which the
 * newest Iceberg is built. Takes all settings of `org.apache.iceberg.spark.SparkCatalog`.
 */
public class IcebergTables
        implements StagingTableCatalog, SupportsNamespaces, FunctionCatalog, ProcedureCatalog, HasIcebergCatalog {
    private final SparkCatalog tables = new SparkCatalog();

    @Override
    public void initialize(String name, CaseInsensitiveStringMap options) {
        tables.initialize(name, options);
    }

    @Override
    public String name() {
        return tables.name();
    }

    @Override
    public String[] defaultNamespace() {
        return tables.defaultNamespace();
    }

    @Override
    public Catalog icebergCatalog() {
        return tables.icebergCatalog();
    }

    @Override
    public boolean useNullableQuerySchema() {
        return tables.useNullableQuerySchema();
    }

    @Override
    public Identifier[] listTables(String[] namespace) {
        return tables.listTables(namespace);
    }

    @Override
    public Table loadTable(Identifier table) throws NoSuchTableException {
        return tables.loadTable(table);
    }

    @Override
    public Table loadTable(Identifier table, String version) throws NoSuchTableException {
        return tables.loadTable(table, version);
    }

    @Override
    public Table loadTable(Identifier table, long timestamp) throws NoSuchTableException {
        return tables.loadTable(table, timestamp);
    }

    @Override
    public boolean tableExists(Identifier table) {
        return tables.tableExists(table);
    }

    @Override
    public void invalidateTable(Identifier table) {
        tables.invalidateTable(table);
    }

    @Override
    public Table createTable(Identifier table, StructType schema, Transform[] partitions, Map<String, String> properties)
            throws TableAlreadyExistsException {
        return tables.createTable(table, schema, partitions, properties);
    }

    @Override
    public StagedTable stageCreate(
            Identifier table, StructType schema, Transform[] partitions, Map<String, String> properties)
            throws TableAlreadyExistsException {
        return tables.stageCreate(table, schema, partitions, properties);
    }

    @Override
    public StagedTable stageReplace(
            Identifier table, StructType schema, Transform[] partitions, Map<String, String> properties)
            throws NoSuchTableException {
        return tables.stageReplace(table, schema, partitions, properties);
    }

    @Override
    public StagedTable stageCreateOrReplace(
            Identifier table, StructType schema, Transform[] partitions, Map<String, String> properties) {
        return tables.stageCreateOrReplace(table, schema, partitions, properties);
    }

    @Override
    public Table alterTable(Identifier table, TableChange... changes) throws NoSuchTableException {
        return tables.alterTable(table, changes);
    }

    @Override
    public boolean dropTable(Identifier table) {
        return tables.dropTable(table);
    }

    @Override
    public boolean purgeTable(Identifier table) {
        return tables.purgeTable(table);
    }

    @Override
    public void renameTable(Identifier from, Identifier to) throws NoSuchTableException, TableAlreadyExistsException {
        tables.renameTable(from, to);
    }

    @Override
    public String[][] listNamespaces() {
        return tables.listNamespaces();
    }

    @Override
    public String[][] listNamespaces(String[] namespace) throws NoSuchNamespaceException {
        return tables.listNamespaces(namespace);
    }

    @Override
    public Map<String, String> loadNamespaceMetadata(String[] namespace) throws NoSuchNamespaceException {
        return tables.loadNamespaceMetadata(namespace);
    }

    @Override
    public void createNamespace(String[] namespace, Map<String, String> properties)
            throws NamespaceAlreadyExistsException {
        tables.createNamespace(namespace, properties);
    }

    @Override
    public void alterNamespace(String[] namespace, NamespaceChange... changes) throws NoSuchNamespaceException {
        tables.alterNamespace(namespace, changes);
    }

    @Override
    public boolean dropNamespace(String[] namespace, boolean cascade)
            throws NoSuchNamespaceException, NonEmptyNamespaceException {
        return tables.dropNamespace(namespace, cascade);
    }

    @Override
    public Identifier[] listFunctions(String[] namespace) throws NoSuchNamespaceException {
        return tables.listFunctions(namespace);
    }

    @Override
    public UnboundFunction loadFunction(Identifier function) throws NoSuchFunctionException {
        return tables.loadFunction(function);
    }

    @Override
    public Identifier[] listProcedures(String[] namespace) {
        return tables.listProcedures(namespace);
    }

    @Override
    public UnboundProcedure loadProcedure(Identifier procedure) {
        return tables.loadProcedure(procedure);
    }
}
