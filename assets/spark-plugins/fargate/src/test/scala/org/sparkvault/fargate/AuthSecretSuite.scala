package org.sparkvault.fargate

import org.scalatest.funsuite.AnyFunSuite

/** Both ends make the same token of a secret: this vector stands in the command line's tests, too. */
class AuthSecretSuite extends AnyFunSuite {

  test("a Connect server's token is the one that the command line makes") {
    assert(AuthSecret.connectToken("5ec2e7" * 10) == "72c806ee0a1ad229955be771719a118243a42ff45813499d3ee5d543dd6ff584")
  }
}
