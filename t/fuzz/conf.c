/* The configuration file. What is accepted must be dumped to a text that is accepted too. */
#include <stdlib.h>

#include "master/conf.h"
#include "shared/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
again(const struct conf *c)
{
	struct buf out = BUF_INIT(16u << 20), err = BUF_INIT(65536);
	struct conf *copy;

	conf_dump(c, &out);
	if (buf_cstr(&out) == NULL || !buf_ok(&out))
		bug("the dump does not fit");
	if (conf_parse_text(out.data, out.len, &copy, &err) < 0)
		bug("a dump is refused: %s", buf_cstr(&err));
	conf_free(copy);
	buf_clear(&out);
	buf_clear(&err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf err = BUF_INIT(65536);
	struct conf *c;
	char *text =
	    malloc(size > 0 ? size : 1); /* not NUL-terminated: reads beyond the end are seen */

	if (text == NULL)
		return 0;
	for (size_t i = 0; i < size; i++)
		text[i] = (char)data[i];
	log_set_level(LOG_LV_ERROR);
	if (conf_parse_text(text, size, &c, &err) == 0) {
		again(c);
		conf_free(c);
	} else if (err.len == 0) {
		bug("refused without a word");
	}
	buf_clear(&err);
	free(text);
	return 0;
}
