package org.sparkvault.fargate

import java.net.URI
import java.nio.charset.StandardCharsets.UTF_8
import java.time.Duration
import java.util.Base64

import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec

import scala.jdk.CollectionConverters._

import software.amazon.awssdk.core.SdkBytes
import software.amazon.awssdk.core.client.config.ClientOverrideConfiguration
import software.amazon.awssdk.core.exception.SdkException
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient
import software.amazon.awssdk.regions.Region
import software.amazon.awssdk.services.kms.KmsClient
import software.amazon.awssdk.services.kms.model.{DataKeySpec, DecryptRequest, EncryptRequest, GenerateDataKeyRequest}

/** KMS says no, or cannot be reached; the message names key and context, never the secret. */
final class SecretRefused(message: String, cause: Throwable) extends RuntimeException(message, cause)

/**
 * The secret that a driver and its executors share, on its way under a KMS key.
 *
 * @param key that it is wrapped under
 * @param tenant and @param application are the encryption context: the ciphertext of one job opens no other's
 */
final case class AuthSecret(region: String, key: String, tenant: String, application: String) {

  private val context = Map("tenant" -> tenant, "application" -> application).asJava

  /** Wraps a secret; base64. Throws SecretRefused. */
  def wrap(secret: String): String = withKms("Encrypt") { kms =>
    val request = EncryptRequest.builder().keyId(key).encryptionContext(context)
      .plaintext(SdkBytes.fromString(secret, UTF_8)).build()
    Base64.getEncoder.encodeToString(kms.encrypt(request).ciphertextBlob().asByteArray())
  }

  /** Opens what `wrap` or `fresh` made. Throws SecretRefused. */
  def unwrap(ciphertext: String): String = withKms("Decrypt") { kms =>
    val request = DecryptRequest.builder().keyId(key).encryptionContext(context)
      .ciphertextBlob(SdkBytes.fromByteArray(Base64.getDecoder.decode(ciphertext))).build()
    AuthSecret.text(kms.decrypt(request).plaintext().asByteArray())
  }

  /** A new secret of 256 bits: the secret, and its ciphertext. Throws SecretRefused. */
  def fresh(): (String, String) = withKms("GenerateDataKey") { kms =>
    val made = kms.generateDataKey(GenerateDataKeyRequest.builder().keyId(key).keySpec(DataKeySpec.AES_256)
      .encryptionContext(context).build())
    (AuthSecret.text(made.plaintext().asByteArray()),
      Base64.getEncoder.encodeToString(made.ciphertextBlob().asByteArray()))
  }

  private def withKms[T](call: String)(body: KmsClient => T): T = {
    val builder = KmsClient.builder().region(Region.of(region))
      .httpClientBuilder(UrlConnectionHttpClient.builder()
        .connectionTimeout(Duration.ofSeconds(5)).socketTimeout(Duration.ofSeconds(15)))
      .overrideConfiguration(ClientOverrideConfiguration.builder().apiCallTimeout(Duration.ofSeconds(60)).build())
    sys.env.get("AWS_ENDPOINT_URL_KMS").orElse(sys.env.get("AWS_ENDPOINT_URL"))
      .foreach(address => builder.endpointOverride(URI.create(address)))
    try {
      val kms = builder.build()
      try body(kms)
      finally kms.close()
    } catch {
      case error @ (_: SdkException | _: IllegalArgumentException) => throw new SecretRefused(
          s"KMS $call with key $key and encryption context {tenant=$tenant, application=$application} failed: " +
            (error match { case sdk: SdkException => Ecs.said(sdk); case other => other.getMessage }), error)
    }
  }
}

object AuthSecret {

  /**
   * What a Spark Connect server asks its clients for. Whoever made the secret can make it too, so that it need not travel;
   * HMAC-SHA-256 (RFC 2104), so that it tells nothing of the secret.
   */
  def connectToken(secret: String): String = {
    val mac = Mac.getInstance("HmacSHA256")
    mac.init(new SecretKeySpec(secret.getBytes(UTF_8), "HmacSHA256"))
    mac.doFinal("spark-connect".getBytes(UTF_8)).map(byte => f"$byte%02x").mkString
  }

  /** Bytes that are text stay as they are (`wrap`); random ones become base64 (`fresh`). */
  private def text(bytes: Array[Byte]): String = {
    val read = new String(bytes, UTF_8)
    if (read.forall(letter => letter >= ' ' && letter <= '~')) read else Base64.getEncoder.encodeToString(bytes)
  }
}
