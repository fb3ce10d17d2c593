// What a table's owner allowed, enforced on the analysed plan: columns that may come out, and groups that may not be
// too small.
package org.sparkvault.enclave

import scala.collection.mutable

import com.fasterxml.jackson.databind.JsonNode
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.expressions.aggregate._
import org.apache.spark.sql.catalyst.plans.logical._
import org.apache.spark.sql.execution.datasources.LogicalRelation
import org.apache.spark.sql.sources.BaseRelation

/** A grant on one table. `columns` may come out; `smallestGroup` 1 or less: no rule; `approved`: the owner approved
 * this very query,
  * so that it may use other columns on the way.
  */
final case class TableGrant(columns: Set[String], smallestGroup: Long, approved: Boolean)

object TableGrant {
  /** By the table's name, from the `grant` of a query. */
  def all(grant: JsonNode): Map[String, TableGrant] = Message.map(grant, "tables").map { case (name, one) =>
    val columns = Message.texts(one, "columns").toSet
    name -> TableGrant(columns, Message.number(one, "smallest_group"), Message.flag(one, "approved"))
  }
}

/** The grants of one query, by relation. */
final class GrantRules(grants: Seq[(BaseRelation, TableGrant)]) {

  /** The plan to run in place of `plan`. Raises Refused with `grant-columns`, `grant-group` or `grant-shape`. */
  def enforced(plan: LogicalPlan): LogicalPlan = {
    checkColumns(plan)
    val smallest = grants.map(_._2.smallestGroup).maxOption.getOrElse(0L)
    if (smallest > 1) grouped(plan, smallest) else plan
  }

  private def grantOf(relation: LogicalRelation): Option[TableGrant] =
    grants.collectFirst { case (known, grant) if known eq relation.relation => grant }

  /** Columns of granted tables from which a value of the result is made, aggregates aside, must be granted.
    *
    * A table under a grant for any query shows its granted columns only, so that for those nothing else could even be
    * filtered by; this
    * is what holds an approved query to the columns that its grant names.
    */
  private def checkColumns(plan: LogicalPlan): Unit = {
    val withheld = withheldColumns(plan)
    if (withheld.nonEmpty) {
      val sources = new Lineage(plan, withheld)
      plan.output.foreach { column =>
        sources.of(column).headOption.foreach { hidden =>
          val what = s"the result's column ${column.name} shows $hidden, which the grant does not let out"
          throw new Refused("grant-columns", what)
        }
      }
    }
  }

  private def withheldColumns(plan: LogicalPlan): Map[ExprId, String] =
    relationsOf(plan)
      .flatMap { relation =>
        grantOf(relation).toSeq.flatMap(grant => relation.output.filterNot(column => grant.columns(column.name)))
      }
      .map(column => column.exprId -> column.name)
      .toMap

  private def relationsOf(plan: LogicalPlan): Seq[LogicalRelation] =
    plan.collectWithSubqueries { case relation: LogicalRelation => relation }

  /** From which withheld columns each attribute of a plan is made. */
  private final class Lineage(root: LogicalPlan, withheld: Map[ExprId, String]) {
    private val known = mutable.Map.empty[ExprId, Set[String]]
    withheld.foreach { case (id, name) => known(id) = Set(name) }
    private val nodes = bottomUp(root)
    // A recursive query refers to itself: go round until nothing is added.
    Iterator.continually(known.values.map(_.size).sum).take(64).foldLeft(-1) { (before, now) =>
      if (before != now) nodes.foreach(visit)
      now
    }

    def of(attribute: Attribute): Set[String] = known.getOrElse(attribute.exprId, Set.empty)

    private def bottomUp(plan: LogicalPlan): Seq[LogicalPlan] =
      plan.children.flatMap(bottomUp) ++
        plan.expressions.flatMap(_.collect { case inner: SubqueryExpression => inner.plan }.flatMap(bottomUp)) :+ plan

    private def visit(node: LogicalPlan): Unit = {
      node.expressions.foreach(_.foreach {
        case alias: Alias => add(alias.exprId, from(alias.child))
        case _ => ()
      })
      node match {
        case union: Union =>
          union.output.zipWithIndex.foreach { case (out, at) =>
            union.children.foreach(child => add(out.exprId, of(child.output(at))))
          }
        case reference: CTERelationRef =>
          nodes.foreach {
            case definition: CTERelationDef if definition.id == reference.cteId =>
              reference.output.zip(definition.output).foreach { case (out, inner) => add(out.exprId, of(inner)) }
            case _ => ()
          }
        case _: Project | _: Aggregate | _: Window | _: LogicalRelation => ()
        case other =>
          // What appears in an output without a definition we know is taken to be made of all that comes in.
          val inputs = other.children.flatMap(_.output)
          val passing = inputs.map(_.exprId).toSet
          val everything = (inputs.flatMap(of) ++ other.expressions.flatMap(from)).toSet
          other.output.filterNot(out => passing(out.exprId)).foreach(out => add(out.exprId, everything))
      }
    }

    private def add(id: ExprId, names: Set[String]): Unit = known(id) = known.getOrElse(id, Set.empty) ++ names

    private def from(expression: Expression): Set[String] = expression match {
      case aggregate: AggregateExpression if GrantRules.hides(aggregate.aggregateFunction) => Set.empty
      case attribute: Attribute => of(attribute)
      case subquery: SubqueryExpression => (subquery.plan.output.flatMap(of) ++ subquery.children.flatMap(from)).toSet
      case other => other.children.flatMap(from).toSet
    }
  }

  /** Rows, of one granted table, grouped once, with nothing done to them before that could make one person count as
   * many or
    * many as one; then groups with fewer rows than `smallest` are left out.
    */
  private def grouped(plan: LogicalPlan, smallest: Long): LogicalPlan = plan match {
    case aggregate: Aggregate =>
      checkAggregate(aggregate)
      val count = Alias(Count(Literal(1)).toAggregateExpression(), "rows in the group")()
      val counted = aggregate.copy(aggregateExpressions = aggregate.aggregateExpressions :+ count)
      Project(aggregate.output, Filter(GreaterThanOrEqual(count.toAttribute, Literal(smallest)), counted))
    case project: Project => noSubqueries(project); project.copy(child = grouped(project.child, smallest))
    case filter: Filter => noSubqueries(filter); filter.copy(child = grouped(filter.child, smallest))
    case sort: Sort => noSubqueries(sort); sort.copy(child = grouped(sort.child, smallest))
    case limit: GlobalLimit => limit.copy(child = grouped(limit.child, smallest))
    case limit: LocalLimit => limit.copy(child = grouped(limit.child, smallest))
    case offset: Offset => offset.copy(child = grouped(offset.child, smallest))
    case alias: SubqueryAlias => alias.copy(child = grouped(alias.child, smallest))
    case _: LogicalRelation | _: View =>
      val what = s"rows come out only in groups of at least $smallest: use GROUP BY or an aggregate"
      throw new Refused("grant-group", what)
    case other => refuseShape(other.nodeName)
  }

  private def checkAggregate(aggregate: Aggregate): Unit = {
    noSubqueries(aggregate)
    checkBelow(aggregate.child)
    aggregate.aggregateExpressions.foreach(_.foreach {
      case call: AggregateExpression =>
        if (call.filter.isDefined) refuseShape("FILTER in an aggregate")
        if (!GrantRules.ofGroups(call.aggregateFunction)) {
          refuseShape(s"the aggregate ${call.aggregateFunction.prettyName}, which can show one row's value,")
        }
        if (!call.aggregateFunction.children.forall(plain)) refuseShape("an expression inside an aggregate")
      case _ => ()
    })
  }

  private def checkBelow(plan: LogicalPlan): Unit = plan match {
    case _: LogicalRelation => ()
    case project: Project =>
      if (!project.projectList.forall(plain)) refuseShape("a computed column below the grouping")
      checkBelow(project.child)
    case filter: Filter => noSubqueries(filter); checkBelow(filter.child)
    case _: SubqueryAlias | _: View => checkBelow(plan.children.head)
    case other => refuseShape(other.nodeName)
  }

  private def plain(expression: Expression): Boolean = expression match {
    case _: AttributeReference => true
    case literal: Literal => literal.foldable
    case alias: Alias => plain(alias.child)
    case cast: Cast => plain(cast.child)
    case _ => false
  }

  private def noSubqueries(plan: LogicalPlan): Unit =
    if (plan.expressions.exists(_.exists(_.isInstanceOf[SubqueryExpression]))) refuseShape("a subquery")

  private def refuseShape(what: String): Nothing =
    throw new Refused("grant-shape", s"$what is not possible where the grant asks for a smallest group")
}

object GrantRules {
  /** Aggregates that say something of a group as a whole. Sums and means of one row are that row: the smallest group
   * sees to that.
   */
  def ofGroups(function: AggregateFunction): Boolean = function match {
    case _: Count | _: Sum | _: Average | _: CentralMomentAgg | _: Covariance | _: PearsonCorrelation => true
    case _ => false
  }

  /** Aggregates after which a column no longer counts as shown. */
  private def hides(function: AggregateFunction): Boolean = ofGroups(function)
}
