"""The built-in read model: which campaign got how many opens, clicks and answers.

The company's own system announces campaigns and enrollments; Lemlist and HubSpot report what happened to them. It is the
first user of the public handler API, and uses nothing else.
"""

from consumer.engagement.register import handlers

__all__ = ["handlers"]
