println("before")
val rows = List(1, 2, 3, 4)
if (rows.size == 4) throw new IllegalStateException("the fourth row is wrong")
println("after")
