// Every node and expression of a plan, wherever it hides: children, subqueries, WITH clauses, arguments of any shape.
package org.sparkvault.enclave

import java.util.IdentityHashMap

import org.apache.spark.sql.catalyst.expressions.{Expression, RuntimeReplaceable}
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan
import org.apache.spark.sql.catalyst.trees.TreeNode
import org.apache.spark.sql.types.DataType

object PlanWalk {
  /** Calls `plan` and `expression` once for each; the flag says that it stands inside what a function is replaced by.
    *
    * `resolved`: also walk what functions will be replaced by, which only an analysed plan knows.
    */
  def foreach(root: LogicalPlan, resolved: Boolean)(plan: LogicalPlan => Unit)(
      expression: (Expression, Boolean) => Unit): Unit = {
    val outside = new IdentityHashMap[AnyRef, AnyRef]
    val within = new IdentityHashMap[AnyRef, AnyRef]
    val todo = new java.util.ArrayDeque[(Any, Boolean)]

    def add(value: Any, inside: Boolean): Unit = value match {
      case null | _: String | _: Number | _: java.lang.Boolean | _: DataType => ()
      case node: TreeNode[_] =>
        val seen = if (inside) within else outside
        if (unseen(seen, node)) todo.push((node, inside))
      case many: Iterable[_] => many.foreach(add(_, inside))
      case one: Option[_] => one.foreach(add(_, inside))
      case product: Product if partOfPlan(product) =>
        if (unseen(outside, product.asInstanceOf[AnyRef])) product.productIterator.foreach(add(_, inside))
      case many: Array[_] => many.foreach(add(_, inside))
      case _ => ()
    }

    add(root, inside = false)
    while (!todo.isEmpty) {
      val (value, inside) = todo.pop()
      val node = value.asInstanceOf[TreeNode[_]]
      node match {
        case logical: LogicalPlan => plan(logical)
        case other: Expression => expression(other, inside)
        case _ => ()
      }
      node match {
        case replaced: RuntimeReplaceable =>
          // Its children are what it is replaced by or its arguments, class by class: walk both, the former as
          // "inside".
          replaced.productIterator.foreach(add(_, inside = true))
          if (resolved) add(replaced.replacement, inside = true)
        case _ => node.productIterator.foreach(add(_, inside))
      }
      node.children.foreach(add(_, inside || node.isInstanceOf[RuntimeReplaceable]))
      node.innerChildren.foreach(add(_, inside || node.isInstanceOf[RuntimeReplaceable]))
    }
  }

  private def unseen(seen: IdentityHashMap[AnyRef, AnyRef], node: AnyRef): Boolean =
    Option(seen.put(node, node)).isEmpty

  private def partOfPlan(product: Product): Boolean = {
    val name = product.getClass.getName
    name.startsWith("scala.Tuple") ||
    (name.startsWith("org.apache.spark.sql.catalyst.") && !name.startsWith("org.apache.spark.sql.catalyst.catalog."))
  }
}
