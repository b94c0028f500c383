#include "worker/lean.h"

#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shared/base.h"

/* The read-only segments of one loaded object. */
static int
drop_object(struct dl_phdr_info *object, size_t size, void *page)
{
	uintptr_t mask = *(const uintptr_t *)page - 1;

	(void)size;
	for (unsigned i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		uintptr_t start = (object->dlpi_addr + segment->p_vaddr + mask) & ~mask;
		uintptr_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_memsz) & ~mask;

		if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W) == 0 && end > start)
			(void)madvise((void *)start, end - start, MADV_DONTNEED);
	}
	return 0;
}

void
lean_drop_startup(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	dl_iterate_phdr(drop_object, &page);
}
