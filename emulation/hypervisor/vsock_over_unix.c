// AF_VSOCK for the programs of an emulated host, over Unix sockets: the kernel of a container has no vsock of its own.
//
// Preloaded into programs that are used as they are (socat, Python). In FOLDER, the hypervisor of the emulation keeps one
// socket for each enclave, CID.sock, which takes "CONNECT PORT\n" and answers "OK ...\n"; a program that listens gets
// port_PORT there, and each connection to it begins with the caller's address, four bytes, little endian.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h> // needs sys/socket.h before it

#define FOLDER "/var/lib/sparkvault-emulation/hypervisor"
#define MOST_FILES 4096

struct channel {
  unsigned char ours;
  unsigned int cid, port;
};
static struct channel channels[MOST_FILES];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static struct channel *ours(int file) {
  return file >= 0 && file < MOST_FILES && channels[file].ours ? &channels[file] : NULL;
}

static void give(struct sockaddr *address, socklen_t *length, unsigned int cid, unsigned int port) {
  struct sockaddr_vm found = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
  if (address == NULL || length == NULL) return;
  memcpy(address, &found, *length < sizeof found ? *length : sizeof found);
  *length = sizeof found;
}

static void name(struct sockaddr_un *address, const char *form, unsigned int number) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  snprintf(address->sun_path, sizeof address->sun_path, form, number);
}

int socket(int family, int type, int protocol) {
  int file = REAL(socket)(family == AF_VSOCK ? AF_UNIX : family, type, family == AF_VSOCK ? 0 : protocol);
  if (file >= 0 && file < MOST_FILES) channels[file] = (struct channel){.ours = family == AF_VSOCK};
  return file;
}

int close(int file) {
  if (file >= 0 && file < MOST_FILES) channels[file].ours = 0;
  return REAL(close)(file);
}

int bind(int file, const struct sockaddr *address, socklen_t length) {
  struct channel *channel = ours(file);
  const struct sockaddr_vm *wanted = (const struct sockaddr_vm *)address;
  struct sockaddr_un place;
  if (channel == NULL || address->sa_family != AF_VSOCK) return REAL(bind)(file, address, length);
  name(&place, FOLDER "/port_%u", wanted->svm_port);
  unlink(place.sun_path);
  if (REAL(bind)(file, (struct sockaddr *)&place, sizeof place) != 0) return -1;
  chmod(place.sun_path, 0666);
  channel->cid = wanted->svm_cid;
  channel->port = wanted->svm_port;
  return 0;
}

int connect(int file, const struct sockaddr *address, socklen_t length) {
  struct channel *channel = ours(file);
  const struct sockaddr_vm *wanted = (const struct sockaddr_vm *)address;
  struct sockaddr_un place;
  char line[64];
  size_t got = 0;
  if (channel == NULL || address->sa_family != AF_VSOCK) return REAL(connect)(file, address, length);
  name(&place, FOLDER "/%u.sock", wanted->svm_cid);
  if (REAL(connect)(file, (struct sockaddr *)&place, sizeof place) != 0) {
    errno = ENODEV;
    return -1;
  }
  int size = snprintf(line, sizeof line, "CONNECT %u\n", wanted->svm_port);
  if (write(file, line, (size_t)size) != size) goto refused;
  while (got < sizeof line) {
    if (read(file, line + got, 1) != 1) goto refused;
    if (line[got++] == '\n') break;
  }
  if (got < 3 || memcmp(line, "OK ", 3) != 0) goto refused;
  channel->cid = wanted->svm_cid;
  channel->port = wanted->svm_port;
  return 0;
refused:
  errno = ECONNREFUSED;
  return -1;
}

int accept4(int file, struct sockaddr *address, socklen_t *length, int flags) {
  struct channel *listener = ours(file);
  unsigned char cid[4];
  size_t got = 0;
  if (listener == NULL) return REAL(accept4)(file, address, length, flags);
  int taken = REAL(accept4)(file, NULL, NULL, flags & ~SOCK_NONBLOCK);
  if (taken < 0) return taken;
  while (got < sizeof cid) {
    ssize_t piece = read(taken, cid + got, sizeof cid - got);
    if (piece <= 0) {
      REAL(close)(taken);
      errno = ECONNABORTED;
      return -1;
    }
    got += (size_t)piece;
  }
  uint32_t caller = cid[0] | cid[1] << 8 | cid[2] << 16 | (uint32_t)cid[3] << 24;
  if (taken < MOST_FILES) channels[taken] = (struct channel){.ours = 1, .cid = caller, .port = listener->port};
  give(address, length, caller, 0);
  return taken;
}

int accept(int file, struct sockaddr *address, socklen_t *length) {
  return ours(file) ? accept4(file, address, length, 0) : REAL(accept)(file, address, length);
}

int getsockname(int file, struct sockaddr *address, socklen_t *length) {
  struct channel *channel = ours(file);
  if (channel == NULL) return REAL(getsockname)(file, address, length);
  give(address, length, VMADDR_CID_HOST, channel->port);
  return 0;
}

int getpeername(int file, struct sockaddr *address, socklen_t *length) {
  struct channel *channel = ours(file);
  if (channel == NULL) return REAL(getpeername)(file, address, length);
  give(address, length, channel->cid, channel->port);
  return 0;
}
