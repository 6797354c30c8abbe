/* Intrusive doubly linked lists. A list head is a struct list; so is each member's link. */
#ifndef CORE_LIST_H
#define CORE_LIST_H

#include "core/base.h"

struct list {
    struct list *next, *prev;
};

#define LIST_INIT(name)                                                                            \
    {                                                                                              \
        &(name), &(name)                                                                           \
    }

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_insert_between(struct list *n, struct list *prev, struct list *next)
{
    n->prev = prev;
    n->next = next;
    prev->next = n;
    next->prev = n;
}

static inline void list_push_front(struct list *l, struct list *n)
{
    list_insert_between(n, l, l->next);
}

static inline void list_push_back(struct list *l, struct list *n)
{
    list_insert_between(n, l->prev, l);
}

/* Unlinks n and makes it a list of its own, so that list_empty(n) tells it is not on a list. */
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

/* Moves all members of `from` to the end of `to`. */
static inline void list_append(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define list_entry(link, type, member) container_of(link, type, member)
#define list_first(l, type, member) list_entry((l)->next, type, member)
#define list_last(l, type, member) list_entry((l)->prev, type, member)
/* The first member taken off the list, or NULL. */
#define list_pop_front(l, type, member)                                                            \
    ({                                                                                             \
        struct list *pop_l = (l);                                                                  \
        type *pop_n = list_empty(pop_l) ? NULL : list_first(pop_l, type, member);                  \
        if (pop_n)                                                                                 \
            list_remove(&pop_n->member);                                                           \
        pop_n;                                                                                     \
    })
#define list_for_each(it, l, member)                                                               \
    for (it = list_first(l, __typeof__(*it), member); &it->member != (l);                          \
         it = list_first(&it->member, __typeof__(*it), member))
/* `it` may be removed in the body. */
#define list_for_each_safe(it, tmp, l, member)                                                     \
    for (it = list_first(l, __typeof__(*it), member),                                              \
        tmp = list_first(&it->member, __typeof__(*it), member);                                    \
         &it->member != (l); it = tmp, tmp = list_first(&it->member, __typeof__(*it), member))

#endif
