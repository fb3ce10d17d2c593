/* Starts the stand-in for Hadoop's container-executor as root, as the native program's setuid bit does for itself.
 * It finds everything by its own place: ../libexec/container_executor.py and ../etc/hadoop/container-executor.cfg. */

#define _GNU_SOURCE
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MOST_ARGUMENTS 256

int main(int count, char **given) {
  static char self[PATH_MAX], program[PATH_MAX + 64], settings[PATH_MAX + 64];
  char *words[MOST_ARGUMENTS] = {"python3", "-I", program, settings};
  char *surroundings[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", NULL};
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length < 0 || count + 4 > MOST_ARGUMENTS)
    return 1;
  self[length] = '\0';
  char *home = dirname(dirname(self));
  snprintf(program, sizeof program, "%s/libexec/container_executor.py", home);
  snprintf(settings, sizeof settings, "%s/etc/hadoop/container-executor.cfg", home);
  for (int at = 1; at < count; at++)
    words[3 + at] = given[at];
  if (setresgid(0, 0, 0) != 0 || setgroups(0, NULL) != 0 || setresuid(0, 0, 0) != 0) {
    /* Without its bit, or where a process may gain nothing. */
    fprintf(stderr, "container-executor (stand-in): cannot become root: is it setuid, and may it be?\n");
    return 22;
  }
  execve("/usr/bin/python3", words, surroundings);
  perror("/usr/bin/python3");
  return 1;
}
