/* The functions of NVIDIA's driver that share memory between processes: each prints what it is
   called with and answers with success. They are found as the real ones are, by cuGetProcAddress. */
#include <stdio.h>
#include <string.h>

typedef unsigned long long u64;

typedef struct {
  int kind, handle_kinds, place_kind, place;
} Properties;

typedef struct {
  int place_kind, place, rights;
} Access;

int cuInit(unsigned flags) { return 0; }

int cuDriverGetVersion(int *version) {
  *version = 13000;
  return 0;
}

int cuMemGetAllocationGranularity(size_t *bytes, const Properties *of, int option) {
  *bytes = 1 << 21;
  return 0;
}

int cuMemCreate(u64 *handle, size_t bytes, const Properties *of, u64 flags) {
  *handle = 7;
  printf("create %zu kind %d handles %d on %d %d\n", bytes, of->kind, of->handle_kinds, of->place_kind,
         of->place);
  return 0;
}

int cuMemExportToShareableHandle(int *descriptor, u64 handle, int kind, u64 flags) {
  *descriptor = 42;
  printf("export %llu as %d\n", handle, kind);
  return 0;
}

int cuMemImportFromShareableHandle(u64 *handle, size_t descriptor, int kind) {
  *handle = 8;
  printf("import %zu as %d\n", descriptor, kind);
  return 0;
}

int cuMemRelease(u64 handle) {
  printf("release %llu\n", handle);
  return 0;
}

int cuMemAddressReserve(u64 *address, size_t bytes, size_t alignment, u64 wanted, u64 flags) {
  *address = 0x10000000;
  printf("reserve %zu\n", bytes);
  return 0;
}

int cuMemMap(u64 address, size_t bytes, size_t offset, u64 handle, u64 flags) {
  printf("map %llu to %llx %zu\n", handle, address, bytes);
  return 0;
}

int cuMemSetAccess(u64 address, size_t bytes, const Access *access, size_t count) {
  printf("access %llx %zu on %d %d rights %d, %zu\n", address, bytes, access->place_kind, access->place,
         access->rights, count);
  return 0;
}

int cuMemUnmap(u64 address, size_t bytes) {
  printf("unmap %llx %zu\n", address, bytes);
  return 0;
}

int cuMemAddressFree(u64 address, size_t bytes) {
  printf("free %llx %zu\n", address, bytes);
  return 0;
}

#define NAMED(function) {#function, function}
static const struct {
  const char *name;
  void *function;
} FUNCTIONS[] = {
    NAMED(cuInit),
    NAMED(cuDriverGetVersion),
    NAMED(cuMemGetAllocationGranularity),
    NAMED(cuMemCreate),
    NAMED(cuMemExportToShareableHandle),
    NAMED(cuMemImportFromShareableHandle),
    NAMED(cuMemRelease),
    NAMED(cuMemAddressReserve),
    NAMED(cuMemMap),
    NAMED(cuMemSetAccess),
    NAMED(cuMemUnmap),
    NAMED(cuMemAddressFree),
};

int cuGetProcAddress_v2(const char *name, void **function, int version, u64 flags, int *status) {
  setvbuf(stdout, NULL, _IONBF, 0);
  *function = NULL;
  for (size_t i = 0; i < sizeof FUNCTIONS / sizeof FUNCTIONS[0]; ++i)
    if (strcmp(FUNCTIONS[i].name, name) == 0) *function = FUNCTIONS[i].function;
  if (status) *status = *function == NULL;
  return 0;
}

int cuGetProcAddress(const char *name, void **function, int version, u64 flags) {
  return cuGetProcAddress_v2(name, function, version, flags, NULL);
}
