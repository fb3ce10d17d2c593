/*
 * SIMULATED. Runs before the enclave's own init in a test image: gives the machine a /dev/nsm that is answered from
 * outside, as a hypervisor would, and then hands over. The device's requests go to the host over vsock, where a simulated
 * module with a root of its own signs them. This file is in no image that is meant for hardware.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

/* Needs what sys/socket.h declares. */
#include <linux/vm_sockets.h>

#define ENCLAVE_INIT "/usr/sbin/enclave-init"
#define MODULE_PORT 9100
#define MAX_REQUEST 0x1000
#define MAX_RESPONSE 0x3000
#define TEN_MILLISECONDS 10000
#define PATIENCE 1000

/* uapi/linux/nsm.h */
struct nsm_buffers {
  uint64_t request, request_bytes, response, response_bytes;
};
#define NSM_IOCTL _IOWR(0x0A, 0x0, struct nsm_buffers)

static void refuse(const char *what) {
  fprintf(stderr, "SIMULATED device: %s: %s\n", what, strerror(errno));
  sync();
  reboot(RB_AUTOBOOT);
  for (;;) pause();
}

static void load_modules(const char *list_path) {
  FILE *list = fopen(list_path, "re");
  char path[256];
  if (!list) refuse(list_path);
  while (fgets(path, sizeof path, list)) {
    path[strcspn(path, "\n")] = 0;
    int module = open(path, O_RDONLY | O_CLOEXEC);
    if (module < 0 || (syscall(SYS_finit_module, module, "", 0) != 0 && errno != EEXIST)) refuse(path);
    close(module);
  }
  fclose(list);
}

static int all(ssize_t (*move)(int, void *, size_t, int), int channel, void *data, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t some = move(channel, (char *)data + done, size - done, 0);
    if (some <= 0) return -1;
    done += (size_t)some;
  }
  return 0;
}

static ssize_t send_some(int channel, void *data, size_t size, int flags) {
  return send(channel, data, size, flags | MSG_NOSIGNAL);
}

/* One exchange with the module on the host: length in four bytes, big-endian, then CBOR, both ways. */
static ssize_t exchange(uint8_t *request, size_t request_bytes, uint8_t *response) {
  struct sockaddr_vm host = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = MODULE_PORT};
  const struct timeval patience = {.tv_sec = 20};
  uint8_t head[4] = {0, 0, (uint8_t)(request_bytes >> 8), (uint8_t)request_bytes};
  int channel = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ssize_t length = -1;
  setsockopt(channel, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (connect(channel, (struct sockaddr *)&host, sizeof host) == 0 && all(send_some, channel, head, 4) == 0 &&
      all(send_some, channel, request, request_bytes) == 0 && all(recv, channel, head, 4) == 0) {
    length = head[0] << 24 | head[1] << 16 | head[2] << 8 | head[3];
    if (length < 0 || length > MAX_RESPONSE || all(recv, channel, response, (size_t)length) != 0) length = -1;
  }
  close(channel);
  return length;
}

static void reply(int device, uint64_t unique, int error, const void *head, size_t head_bytes, const void *data,
                  size_t data_bytes) {
  struct fuse_out_header header = {.len = (uint32_t)(sizeof header + head_bytes + data_bytes),
                                   .error = error,
                                   .unique = unique};
  struct iovec pieces[3] = {{&header, sizeof header}, {(void *)head, head_bytes}, {(void *)data, data_bytes}};
  /* A request whose process has gone is not found; that is all right. */
  if (writev(device, pieces, 3) < 0 && errno != ENOENT) refuse("no reply");
}

/* Linux asks in rounds for the memory behind the ioctl's argument: first the two buffers' places, then the request. */
static void answer_ioctl(int device, uint64_t unique, const struct fuse_ioctl_in *asked, uint8_t *given) {
  static uint8_t response[sizeof(struct nsm_buffers) + MAX_RESPONSE];
  struct fuse_ioctl_out out = {0};
  struct fuse_ioctl_iovec places[4] = {{asked->arg, sizeof(struct nsm_buffers)}};
  if (asked->cmd != NSM_IOCTL) {
    reply(device, unique, -ENOTTY, NULL, 0, NULL, 0);
    return;
  }
  if (asked->in_size < sizeof(struct nsm_buffers)) {
    out.flags = FUSE_IOCTL_RETRY;
    out.in_iovs = 1;
    reply(device, unique, 0, &out, sizeof out, places, sizeof *places);
    return;
  }
  struct nsm_buffers buffers;
  memcpy(&buffers, given, sizeof buffers);
  if (buffers.request_bytes == 0 || buffers.request_bytes > MAX_REQUEST || buffers.response_bytes > MAX_RESPONSE) {
    reply(device, unique, -EMSGSIZE, NULL, 0, NULL, 0);
    return;
  }
  if (asked->in_size == sizeof buffers) {
    out.flags = FUSE_IOCTL_RETRY;
    out.in_iovs = out.out_iovs = 2;
    places[1] = (struct fuse_ioctl_iovec){buffers.request, buffers.request_bytes};
    places[2] = places[0];
    places[3] = (struct fuse_ioctl_iovec){buffers.response, buffers.response_bytes};
    reply(device, unique, 0, &out, sizeof out, places, sizeof places);
    return;
  }
  ssize_t length = exchange(given + sizeof buffers, buffers.request_bytes, response + sizeof buffers);
  if (length < 0 || (uint64_t)length > buffers.response_bytes) {
    reply(device, unique, -EIO, NULL, 0, NULL, 0);
    return;
  }
  buffers.response_bytes = (uint64_t)length;
  memcpy(response, &buffers, sizeof buffers);
  reply(device, unique, 0, &out, sizeof out, response, sizeof buffers + (size_t)length);
}

static void serve(int device) {
  static uint8_t message[1 << 17];
  for (;;) {
    ssize_t size = read(device, message, sizeof message);
    if (size < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN)) continue;
    if (size < (ssize_t)sizeof(struct fuse_in_header)) refuse("the device is gone");
    const struct fuse_in_header *header = (void *)message;
    uint8_t *body = message + sizeof *header;
    switch (header->opcode) {
      case CUSE_INIT: {
        static const char name[] = "DEVNAME=nsm";
        const struct cuse_init_out out = {.major = FUSE_KERNEL_VERSION,
                                          .minor = FUSE_KERNEL_MINOR_VERSION,
                                          .flags = CUSE_UNRESTRICTED_IOCTL,
                                          .max_read = 4096,
                                          .max_write = 4096};
        reply(device, header->unique, 0, &out, sizeof out, name, sizeof name);
        break;
      }
      case FUSE_OPEN: {
        const struct fuse_open_out out = {0};
        reply(device, header->unique, 0, &out, sizeof out, NULL, 0);
        break;
      }
      case FUSE_RELEASE:
      case FUSE_FLUSH:
        reply(device, header->unique, 0, NULL, 0, NULL, 0);
        break;
      case FUSE_IOCTL:
        answer_ioctl(device, header->unique, (void *)body, body + sizeof(struct fuse_ioctl_in));
        break;
      case FUSE_INTERRUPT:
        break;
      default:
        reply(device, header->unique, -ENOSYS, NULL, 0, NULL, 0);
    }
  }
}

int main(void) {
  struct stat found;
  mkdir("/dev", 0755);
  if (mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755") != 0 && errno != EBUSY) refuse("/dev");
  int console = open("/dev/console", O_WRONLY | O_NOCTTY);
  dup2(console, 2);
  fputs("SIMULATED: the security module of this machine is a simulation.\n", stderr);
  load_modules("/etc/enclave/modules");
  load_modules("/etc/enclave/simulator-modules");
  if (fork() == 0) {
    int device = open("/dev/cuse", O_RDWR | O_CLOEXEC);
    if (device < 0) refuse("/dev/cuse");
    serve(device);
  }
  for (int i = 0; stat("/dev/nsm", &found) != 0; i++) {
    if (i == PATIENCE) refuse("/dev/nsm does not appear");
    usleep(TEN_MILLISECONDS);
  }
  close(console);
  execv(ENCLAVE_INIT, (char *[]){ENCLAVE_INIT, NULL});
  refuse(ENCLAVE_INIT);
}
