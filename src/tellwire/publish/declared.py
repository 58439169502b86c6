"""Events declared as classes: the fields are checked when one is made, so a wrong event never reaches a subscriber."""

from typing import Any, ClassVar

from pydantic import BaseModel

from tellwire.model.event import is_type_name


class Event(BaseModel):
    """Base of the event types that you declare.

    A subclass names its type and lists its data as pydantic fields::

        class OrderPaid(Event, name="order.paid"):
            order_id: str
            amount: int

    Raises:
        TypeError: at the class statement, where the name is missing or no event-type name.
    """

    event_type: ClassVar[str]

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)  # pydantic hands the name to the method below, Python to this one

    @classmethod
    def __pydantic_init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if name is None:
            if not hasattr(cls, "event_type"):
                raise TypeError(
                    f'{cls.__name__} needs a name: class {cls.__name__}(Event, name="order.paid")'
                )
            return
        if not is_type_name(name):
            raise TypeError(f"{name!r} is no event-type name: dot-separated segments of A-Z a-z 0-9 _")
        cls.event_type = name
