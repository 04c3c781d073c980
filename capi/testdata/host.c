/* host MODE PLUGIN DIR: puts its thread into a floating-point mode, loads a plugin that
 * has epsball inside or loads it, and has it run its checks in that mode. */
#include <dlfcn.h>

#include "check.h"

int main(int argc, char **argv) {
  void *plugin, *symbol;
  int (*run)(int, char **);
  CHECK(argc == 4, "usage: host MODE PLUGIN DIR");
  (void)read_expected;
  (void)the_attack;
  set_mode(modes[atoi(argv[1])]);
  plugin = dlopen(argv[2], RTLD_NOW);
  CHECK(plugin != NULL, dlerror());
  symbol = dlsym(plugin, "run");
  CHECK(symbol != NULL, "no function run");
  memcpy(&run, &symbol, sizeof run);
  argv[2] = argv[0];
  argc = run(2, argv + 2);
  CHECK(get_mode() == modes[atoi(argv[1])], "mode changed");
  return argc;
}
