/* A line of the control protocol. What is refused gets a reply that is one line of JSON. */
#include <stdlib.h>
#include <string.h>

#include "shared/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_line(char *line)
{
	size_t n = line != NULL ? strlen(line) : 0;
	json_t *reply;

	if (n == 0 || n > CONTROL_LINE_MAX || strchr(line, '\n') != line + n - 1)
		bug("a reply is not one line");
	reply = json_loadb(line, n, 0, NULL);
	if (reply == NULL || json_object_get(reply, "id") == NULL)
		bug("a reply is not a reply: %s", line);
	json_decref(reply);
	free(line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_request req;
	char *error, *text = malloc(size > 0 ? size : 1);

	if (text == NULL)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	if (control_parse_request(text, size, &req, &error) == 0) {
		if (error != NULL || !json_is_object(req.params) || req.id == NULL ||
		    req.method[0] == '\0')
			bug("accepted, and incomplete");
		check_line(control_reply(req.id, json_incref(req.params)));
		check_line(
		    control_error(req.id, CONTROL_FAILED, req.method, json_incref(req.params)));
		control_request_clear(&req);
	} else {
		check_line(error);
	}
	free(text);
	return 0;
}
