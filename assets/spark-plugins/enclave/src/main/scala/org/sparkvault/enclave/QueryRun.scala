// One query: judged, planned, judged again, run.
package org.sparkvault.enclave

import com.fasterxml.jackson.databind.JsonNode
import org.apache.spark.sql.{classic, DataFrame}
import org.apache.spark.sql.execution.datasources.LogicalRelation
import org.apache.spark.sql.functions.col
import org.apache.spark.sql.sources.BaseRelation
import org.apache.spark.sql.sparkvault.SparkInternals

final class QueryRun(
    spark: classic.SparkSession, tables: Map[String, SessionTable], grants: Map[String, TableGrant], out: FrameWriter) {

  /** Writes the schema and the rows; returns the numbers of rows and bytes. Raises Refused, Failed or what Spark
   * raises.
   */
  def run(id: Long, sql: String, parameters: Map[String, JsonNode], limits: ResultLimits): (Long, Long) = {
    val literals = QueryRules.parameters(parameters)
    grants.keys.find(!tables.contains(_)).foreach { name =>
      throw new Refused("relation", s"$name is no table of this session")
    }
    tables.values.foreach(table => visible(table).createOrReplaceTempView(table.name))
    val rules = new QueryRules(spark, tables.keySet, tables.values.toSeq.map(relationOf))
    val asked = SparkInternals.execution(rules.analysed(sql, literals)).analyzed
    val granted = new GrantRules(grants.toSeq.map { case (name, grant) => relationOf(tables(name)) -> grant })
    val execution = SparkInternals.execution(rules.analyse(granted.enforced(asked)))
    rules.checkPlanned(execution.optimizedPlan, execution.sparkPlan)
    val schema = execution.analyzed.schema
    val first = schemaMessage(schema)
    SparkInternals.withRows(execution) { rows =>
      out.json { reply =>
        reply.put("is", "schema").put("id", id)
        val fields = reply.putArray("fields")
        schema.fields.foreach(field => fields.addObject().put("name", field.name).put("type", field.dataType.sql))
      }
      ResultStream.run(spark.sparkContext, id, rows, schema, first, limits, out)
    }
  }

  /** Where a grant is for any query, its columns are all there is of the table. */
  private def visible(table: SessionTable): DataFrame = grants.get(table.name) match {
    case Some(grant) if !grant.approved =>
      val columns = table.schema.fieldNames.filter(grant.columns)
      if (columns.isEmpty) throw new Refused("grant-columns", s"the grant lets no column of ${table.name} out")
      table.frame.select(columns.map(name => col(s"`${name.replace("`", "``")}`")).toIndexedSeq: _*)
    case _ => table.frame
  }

  private def relationOf(table: SessionTable): BaseRelation =
    SparkInternals.execution(table.frame).analyzed.collectFirst { case relation: LogicalRelation => relation.relation }
      .getOrElse(throw new IllegalStateException("a table without a relation"))

  /** Made before anything runs: a type that Arrow cannot carry is the query's fault, not a result's. */
  private def schemaMessage(schema: org.apache.spark.sql.types.StructType): Array[Byte] =
    try SparkInternals.arrowSchema(schema)
    catch {
      case error: org.apache.spark.SparkThrowable => throw new Refused("analysis", error.getMessage)
    }
}
