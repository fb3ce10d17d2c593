/*
 * The first process of the enclave: makes the machine ready, starts the broker, and ends the machine with it. It takes no
 * orders: not from the kernel's command line, not from the parent, not from the environment. What it needs to know lies
 * beside it in the measured ramdisks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/random.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Needs what sys/socket.h declares. */
#include <linux/vm_sockets.h>

#define MODULES_LIST "/etc/enclave/modules"
#define PARENT_CID_FILE "/etc/enclave/parent-cid"

/* The contract of nitro-cli: one byte to the parent and back says that the enclave runs. */
#define HEARTBEAT_PORT 9000
#define HEARTBEAT_BYTE 0xB7

#define CLOCK_STEP_SECONDS 60
/* From here on the clock is set, below it is drawn gently. */
#define CLOCK_JUMP_NANOSECONDS 100000000LL

/* Capabilities that the broker needs to keep its sessions apart: own user ids, own folders, ending them. */
#define BROKER_CAPABILITIES                                                                                          \
  (1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE | 1ULL << CAP_FOWNER | 1ULL << CAP_KILL | 1ULL << CAP_SETGID |       \
   1ULL << CAP_SETUID)

static void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("init: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

/* There is nothing to fall back to: an enclave that is not as it should be ends. */
static void end_machine(void) {
  sync();
  reboot(RB_AUTOBOOT);
  for (;;) pause();
}

#define refuse(...)                                                                                                  \
  do {                                                                                                               \
    say(__VA_ARGS__);                                                                                                \
    end_machine();                                                                                                   \
  } while (0)

static void mount_on(const char *kind, const char *folder, unsigned long flags, const char *options) {
  mkdir(folder, 0755);
  /* Busy: the kernel has mounted its /dev already (CONFIG_DEVTMPFS_MOUNT). */
  if (mount(kind, folder, kind, flags, options) != 0 && errno != EBUSY)
    refuse("%s cannot be mounted on %s: %s", kind, folder, strerror(errno));
}

static void mount_all(void) {
  const unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  umask(0);
  mount_on("devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=0755");
  int console = open("/dev/console", O_WRONLY | O_NOCTTY);
  if (console < 0) console = open("/dev/null", O_WRONLY);
  int empty = open("/dev/null", O_RDONLY);
  dup2(empty, 0);
  dup2(console, 1);
  dup2(console, 2);
  for (int fd = 3; fd < 16; fd++) close(fd);
  /* Sessions see their own processes only; the broker (group 0) sees all, to be sure that a session has ended. */
  mount_on("proc", "/proc", safe, "hidepid=2,gid=0");
  mount_on("sysfs", "/sys", safe | MS_RDONLY, NULL);
  mount_on("tmpfs", "/run", safe, "mode=0755,size=64m");
  mount_on("tmpfs", "/tmp", safe, "mode=1777,size=64m");
  mount_on("tmpfs", "/dev/shm", safe, "mode=1777,size=64m");
  /* Sessions' temporary folders: the JVM unpacks native libraries there and maps them, so exec; memory is the limit. */
  mount_on("tmpfs", "/run/sparkvault", MS_NOSUID | MS_NODEV, "mode=0711,size=75%");
  /* Each session's user passes through to a folder of its own; the broker's umask would close the way to it. */
  if (mkdir("/run/sparkvault/sessions", 0711) != 0) refuse("there is no place for sessions: %s", strerror(errno));
  if (symlink("/proc/self/fd", "/dev/fd") != 0 && errno != EEXIST) refuse("/dev/fd cannot be made");
  umask(022);
}

static void load_modules(void) {
  FILE *list = fopen(MODULES_LIST, "re");
  char path[256];
  if (!list) return;
  while (fgets(path, sizeof path, list)) {
    path[strcspn(path, "\n")] = 0;
    int module = open(path, O_RDONLY | O_CLOEXEC);
    if (module < 0) refuse("the kernel module %s is missing", path);
    if (syscall(SYS_finit_module, module, "", 0) != 0 && errno != EEXIST)
      refuse("the kernel module %s cannot be loaded: %s", path, strerror(errno));
    close(module);
  }
  fclose(list);
}

/* Best effort: which of them exist depends on the kernel; none is a condition of a promise that we make. */
static void set_kernel_values(void) {
  static const char *const values[][2] = {
      {"/proc/sys/kernel/modules_disabled", "1"},
      {"/proc/sys/kernel/kexec_load_disabled", "1"},
      {"/proc/sys/kernel/dmesg_restrict", "1"},
      {"/proc/sys/kernel/kptr_restrict", "2"},
      {"/proc/sys/kernel/unprivileged_bpf_disabled", "1"},
      {"/proc/sys/kernel/yama/ptrace_scope", "3"},
      {"/proc/sys/kernel/sysrq", "0"},
      {"/proc/sys/kernel/core_pattern", "|/bin/false"},
      {"/proc/sys/fs/suid_dumpable", "0"},
      {"/proc/sys/user/max_user_namespaces", "0"},
  };
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    int file = open(values[i][0], O_WRONLY | O_CLOEXEC);
    if (file < 0) continue;
    if (write(file, values[i][1], strlen(values[i][1])) < 0) say("%s stays as it is", values[i][0]);
    close(file);
  }
  const struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  if (sethostname("enclave", 7) != 0) say("no host name");
}

static void loopback_up(void) {
  struct ifreq request = {.ifr_name = "lo"};
  int channel = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (channel < 0 || ioctl(channel, SIOCGIFFLAGS, &request) != 0) refuse("there is no loopback interface");
  request.ifr_flags |= IFF_UP;
  if (ioctl(channel, SIOCSIFFLAGS, &request) != 0) refuse("the loopback interface stays down: %s", strerror(errno));
  close(channel);
}

/* The device's ioctl: uapi/linux/nsm.h. */
struct nsm_buffers {
  uint64_t request, request_bytes, response, response_bytes;
};
#define NSM_IOCTL _IOWR(0x0A, 0x0, struct nsm_buffers)

/* The kernel of an enclave has few sources of its own: its pool starts with what the security module gives. */
static void seed_random_pool(void) {
  static const uint8_t request[] = "\x69GetRandom";
  /* {"GetRandom": {"random": bytes(256)}} */
  static const uint8_t answer_head[] = "\xa1\x69GetRandom\xa1\x66random\x59\x01\x00";
  enum { HEAD = sizeof answer_head - 1, RANDOM = 256 };
  /* struct rand_pool_info: bits of entropy, bytes, the bytes themselves. */
  uint32_t pool[2 + RANDOM / 4] = {RANDOM * 8, RANDOM};
  int device = open("/dev/nsm", O_RDWR | O_CLOEXEC), random = open("/dev/random", O_WRONLY | O_CLOEXEC);
  if (device < 0) refuse("there is no security module: /dev/nsm: %s", strerror(errno));
  for (int round = 0; round < 2; round++) {
    uint8_t response[0x3000];
    struct nsm_buffers buffers = {(uintptr_t)request, sizeof request - 1, (uintptr_t)response, sizeof response};
    if (ioctl(device, NSM_IOCTL, &buffers) != 0) refuse("the security module does not answer: %s", strerror(errno));
    if (buffers.response_bytes != HEAD + RANDOM || memcmp(response, answer_head, HEAD) != 0)
      refuse("the security module gives no random bytes");
    memcpy(pool + 2, response + HEAD, RANDOM);
    if (ioctl(random, RNDADDENTROPY, pool) != 0) refuse("the random pool takes no seed: %s", strerror(errno));
    explicit_bzero(response, sizeof response);
  }
  explicit_bzero(pool, sizeof pool);
  close(random);
  close(device);
}

static unsigned parent_cid(void) {
  unsigned cid = 0;
  FILE *file = fopen(PARENT_CID_FILE, "re");
  if (!file || fscanf(file, "%u", &cid) != 1) refuse("%s is missing", PARENT_CID_FILE);
  fclose(file);
  return cid;
}

/* A parent that does not listen is its own affair: it learns nothing, and we need nothing from it. */
static void heartbeat(void) {
  const struct timeval patience = {.tv_sec = 5};
  struct sockaddr_vm parent = {.svm_family = AF_VSOCK, .svm_cid = parent_cid(), .svm_port = HEARTBEAT_PORT};
  uint8_t byte = HEARTBEAT_BYTE;
  int channel = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (channel < 0) refuse("the kernel has no vsock");
  setsockopt(channel, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience, sizeof patience);
  setsockopt(channel, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (connect(channel, (struct sockaddr *)&parent, sizeof parent) != 0 || write(channel, &byte, 1) != 1 ||
      read(channel, &byte, 1) != 1 || byte != HEARTBEAT_BYTE)
    say("nobody waited for the heartbeat");
  close(channel);
}

/* The hypervisor's clock: the enclave's own drifts by seconds a week. Not every machine has one. */
static void keep_time(void) {
  int device = open("/dev/ptp0", O_RDONLY | O_CLOEXEC);
  if (device < 0) return;
  const clockid_t clock = (~(clockid_t)device << 3) | 3;
  struct timespec there, here;
  if (clock_gettime(clock, &there) == 0 && clock_gettime(CLOCK_REALTIME, &here) == 0) {
    const int64_t apart = (int64_t)(there.tv_sec - here.tv_sec) * 1000000000LL + (there.tv_nsec - here.tv_nsec);
    if (apart > CLOCK_JUMP_NANOSECONDS || apart < -CLOCK_JUMP_NANOSECONDS) {
      if (clock_settime(CLOCK_REALTIME, &there) != 0) say("the clock cannot be set");
    } else {
      struct timex slew = {.modes = ADJ_OFFSET_SINGLESHOT, .offset = (long)(apart / 1000)};
      if (adjtimex(&slew) < 0) say("the clock cannot be drawn");
    }
  }
  close(device);
}

static void keep_capabilities(uint64_t kept) {
  for (int capability = 0; capability < 64; capability++)
    if (!(kept >> capability & 1) && prctl(PR_CAPBSET_READ, capability) == 1 && prctl(PR_CAPBSET_DROP, capability) != 0)
      _exit(70);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(70);
}

/* Root without its powers: it may start sessions under other users, and cannot change the machine any more. */
static pid_t start(char *const *command, uint64_t capabilities) {
  static char *const environment[] = {"PATH=/usr/bin", "LANG=C.UTF-8", "HOME=/nonexistent", NULL};
  fflush(NULL);
  pid_t child = fork();
  if (child < 0) refuse("no process for %s: %s", command[0], strerror(errno));
  if (child > 0) return child;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  keep_capabilities(capabilities);
  if (setgroups(0, NULL) != 0) _exit(71);
  execve(command[0], command, environment);
  say("%s cannot be started: %s", command[0], strerror(errno));
  _exit(72);
}

int main(void) {
  static char *const broker_command[] = {"/usr/bin/python3.11", "-I", "-B", "-m", "spark_enclave.server", NULL};
  if (getpid() != 1) {
    fputs("This program is the first process of an enclave, and nothing else.\n", stderr);
    return 2;
  }
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  mount_all();
  load_modules();
  set_kernel_values();
  loopback_up();
  keep_time();
  heartbeat();
  seed_random_pool();
  if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0) refuse("the root stays writable: %s", strerror(errno));

  const pid_t broker = start(broker_command, BROKER_CAPABILITIES);
  say("the broker is started");
  for (time_t next_clock = 0;;) {
    const struct timespec step = {.tv_sec = CLOCK_STEP_SECONDS};
    struct timespec now;
    sigset_t child_ended;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigtimedwait(&child_ended, NULL, &step);
    int status;
    pid_t ended;
    while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
      if (ended != broker) continue;
      if (WIFEXITED(status)) refuse("the broker ended with code %d", WEXITSTATUS(status));
      refuse("the broker ended by signal %d", WTERMSIG(status));
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec >= next_clock) {
      keep_time();
      next_clock = now.tv_sec + CLOCK_STEP_SECONDS;
    }
  }
}
