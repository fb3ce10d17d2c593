package org.apache.iceberg.spark.source;

import org.apache.spark.sql.connector.catalog.View;

/**
 * Stands in for Iceberg's class of this name, which Spark 4.2 cannot load: `View` was an interface up to Spark 4.1 and
 * is a class now. Iceberg's tables need the name only; its views are not offered (IcebergTables).
 */
public class SparkView extends View {
    public SparkView(String catalog, org.apache.iceberg.view.View view) {
        super(refused(catalog, view));
    }

    private static View.Builder refused(String catalog, org.apache.iceberg.view.View view) {
        throw new UnsupportedOperationException(
                view.name() + " in catalog " + catalog + " is an Iceberg view; with Spark 4.2 only tables can be used");
    }
}
