// Whether a query may run: one SELECT, made only of what the lists allow, over this session's relations.
package org.sparkvault.enclave

import scala.util.control.NonFatal

import org.apache.spark.SparkThrowable
import org.apache.spark.sql.{classic, AnalysisException, DataFrame}
import org.apache.spark.sql.catalyst.analysis._
import org.apache.spark.sql.catalyst.expressions.{Expression, Literal}
import org.apache.spark.sql.catalyst.parser.ParseException
import org.apache.spark.sql.catalyst.plans.logical._
import org.apache.spark.sql.execution.{FileSourceScanExec, LeafExecNode, SparkPlan}
import org.apache.spark.sql.execution.datasources.LogicalRelation
import org.apache.spark.sql.sources.BaseRelation
import org.apache.spark.sql.sparkvault.SparkInternals

/** The rules of one session over its `relations`; `names` are what they are called in SQL. */
final class QueryRules(spark: classic.SparkSession, names: Set[String], relations: Seq[BaseRelation]) {

  /** The query, analysed and found to be allowed; nothing of it was run. Raises Refused. */
  def analysed(sql: String, parameters: Map[String, Literal]): DataFrame = {
    val parsed = parse(sql)
    checkParsed(parsed)
    val bound = if (parameters.isEmpty) parsed else NameParameterizedQuery(parsed, parameters)
    val frame = analyse(bound)
    checkAnalysed(SparkInternals.execution(frame).analyzed)
    frame
  }

  /** Analyses a plan; what is wrong with the query is the client's to know. */
  def analyse(plan: LogicalPlan): DataFrame =
    try SparkInternals.analyse(spark, plan)
    catch {
      case error: AnalysisException => throw new Refused("analysis", error.getSimpleMessage)
      case error: SparkThrowable if error.getCondition != null && !error.getCondition.startsWith("INTERNAL") =>
        throw new Refused("analysis", error.getMessage)
      case _: StackOverflowError => throw new Refused("analysis", "the query is nested too deeply")
    }

  private def parse(sql: String): LogicalPlan = {
    if (sql.length > QueryRules.MaxLength) {
      throw new Refused("syntax", s"the query is longer than ${QueryRules.MaxLength} characters")
    }
    try spark.sessionState.sqlParser.parsePlan(sql)
    catch {
      case error: ParseException => throw new Refused("syntax", error.getMessage)
      case _: StackOverflowError => throw new Refused("syntax", "the query is nested too deeply")
      case error: SparkThrowable => throw new Refused("syntax", error.getMessage)
    }
  }

  /** Before analysis, which itself already looks up tables, loads classes that functions name, and evaluates some
   * arguments.
   */
  private def checkParsed(root: LogicalPlan): Unit = {
    val defined = scala.collection.mutable.Set.empty[String]
    PlanWalk.foreach(root, resolved = false) {
      case UnresolvedWith(_, relations, _) => defined ++= relations.map(_._1.toLowerCase(java.util.Locale.ROOT))
      case _ => ()
    }((_, _) => ())
    PlanWalk.foreach(root, resolved = false) { plan =>
      checkNode(plan)
      plan match {
        case relation: UnresolvedRelation => checkName(relation, defined.toSet)
        case function: UnresolvedTableValuedFunction =>
          checkFunction(SqlAllowList.tableFunctions, function.name, "table function")
        case hint: UnresolvedHint =>
          val known = QueryRules.Hints(hint.name.toUpperCase(java.util.Locale.ROOT))
          if (!known) throw new Refused("hint", s"the hint ${hint.name} is not allowed")
        case _ => ()
      }
    } { (expression, inside) =>
      checkExpression(expression, inside)
      expression match {
        case function: UnresolvedFunction => checkFunction(SqlAllowList.functions, function.nameParts, "function")
        case generator: UnresolvedGenerator =>
          checkFunction(SqlAllowList.functions, generator.name.database.toSeq :+ generator.name.funcName, "function")
        case _ => ()
      }
    }
  }

  private def checkAnalysed(root: LogicalPlan): Unit =
    PlanWalk.foreach(root, resolved = true) { plan =>
      checkNode(plan)
      plan match {
        case relation: LogicalRelation => checkRelation(relation.relation)
        case _ => ()
      }
    }(checkExpression)

  /** After planning, before running: what is read is this session's files, and nothing else is. */
  def checkPlanned(optimised: LogicalPlan, physical: SparkPlan): Unit = {
    optimised.foreachWithSubqueries {
      case relation: LogicalRelation => checkRelation(relation.relation)
      case leaf: LeafNode if SqlAllowList.plans.verdict(SqlAllowList.nameOf(leaf.getClass)) != Allowed =>
        throw new Refused("plan", s"${leaf.nodeName} is not allowed")
      case _ => ()
    }
    // Subqueries are no physical plans yet; what they read was looked at above.
    physical.foreach {
      case scan: FileSourceScanExec => checkRelation(scan.relation)
      case leaf: LeafExecNode if !QueryRules.Leaves(leaf.nodeName) =>
        throw new Refused("plan", s"${leaf.nodeName} is not allowed")
      case _ => ()
    }
  }

  private def checkName(relation: UnresolvedRelation, defined: Set[String]): Unit = {
    val parts = relation.multipartIdentifier.map(_.toLowerCase(java.util.Locale.ROOT))
    val known = parts.length == 1 && (names(parts.head) || defined(parts.head))
    if (!known || relation.isStreaming || !relation.options.isEmpty) {
      throw new Refused("relation", s"${relation.multipartIdentifier.mkString(".")} is no table of this session")
    }
  }

  private def checkRelation(relation: BaseRelation): Unit =
    if (!relations.exists(_ eq relation)) {
      throw new Refused("relation", "the query reads something that is no table of this session")
    }

  private def checkFunction(list: Classification, parts: Seq[String], kind: String): Unit = {
    val name = parts.map(_.toLowerCase(java.util.Locale.ROOT)).mkString(".")
    refuseUnless(list.verdict(name), inside = false, "function", s"the $kind $name")
  }

  private def checkNode(plan: LogicalPlan): Unit = {
    val verdict = SqlAllowList.plans.verdict(SqlAllowList.nameOf(plan.getClass))
    val rule = (verdict, plan) match {
      case (_, _: Command | _: CompoundPlanStatement | _: ParsedStatement) => "statement"
      case (Forbidden(why), _) if why.startsWith("statements") => "statement"
      case _ => "plan"
    }
    val what = if (rule == "statement") s"a query is one SELECT; ${plan.nodeName}" else plan.nodeName
    refuseUnless(verdict, inside = false, rule, what)
  }

  private def checkExpression(expression: Expression, inside: Boolean): Unit =
    refuseUnless(
      SqlAllowList.expressions.verdict(SqlAllowList.nameOf(expression.getClass)),
      inside,
      "expression",
      s"the expression ${expression.nodeName}")

  private def refuseUnless(verdict: Verdict, inside: Boolean, rule: String, what: String): Unit = verdict match {
    case Allowed => ()
    case Inside if inside => ()
    case Forbidden(why) => throw new Refused(rule, s"$what is not allowed: $why")
    case _ => throw new Refused(rule, s"$what is not allowed")
  }
}

object QueryRules {
  /** Characters of a query: generous for people, small for the parser. */
  val MaxLength: Int = 256 * 1024

  /** How to join: a matter of speed. Others change numbers of partitions or refer to state. */
  private val Hints = Set(
    "BROADCAST", "BROADCASTJOIN", "MAPJOIN",
    "MERGE", "MERGEJOIN", "SHUFFLE_MERGE", "SHUFFLE_HASH", "SHUFFLE_REPLICATE_NL")

  /** Physical leaves besides scans of this session's files. */
  private val Leaves =
    Set("LocalTableScan", "Range", "Scan OneRowRelation", "OneRowRelation", "EmptyRelation", "UnionLoop", "ReusedSubquery")

  /** The values that a client gives for `:name`. Raises Refused. */
  def parameters(values: Map[String, com.fasterxml.jackson.databind.JsonNode]): Map[String, Literal] = {
    import org.apache.spark.sql.catalyst.expressions.{Cast, EvalMode}
    import org.apache.spark.sql.types._
    val types = Map(
      "int" -> LongType, "double" -> DoubleType, "string" -> StringType, "boolean" -> BooleanType,
      "date" -> DateType, "timestamp" -> TimestampType, "decimal" -> DecimalType.SYSTEM_DEFAULT)
    values.map { case (name, parameter) =>
      val kind = Message.text(parameter, "type")
      val wanted =
        types.getOrElse(kind, throw new Refused("parameters", s"the parameter $name has the unknown type $kind"))
      val value = Message.optional(parameter, "value").map(_.asText).orNull
      val literal =
        try {
          val cast = Cast(Literal.create(value, StringType), wanted, Some("UTC"), EvalMode.ANSI)
          Literal.create(cast.eval(), wanted)
        } catch { case NonFatal(_) => throw new Refused("parameters", s"the parameter $name is not of the type $kind") }
      name -> literal
    }
  }
}
