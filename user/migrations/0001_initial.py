"""The tables of `user`."""

from __future__ import annotations

import uuid

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AdStatus",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identifier", models.SlugField(max_length=40, unique=True)),
                ("title", models.CharField(max_length=80)),
                ("description", models.CharField(blank=True, max_length=255)),
            ],
            options={
                "verbose_name_plural": "ad statuses",
                "db_table": "user_ad_status",
                "abstract": False,
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("identifier__in", ["planned", "running", "finished"])),
                        name="user_ad_status_known",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="AdType",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identifier", models.SlugField(max_length=40, unique=True)),
                ("title", models.CharField(max_length=80)),
                ("description", models.CharField(blank=True, max_length=255)),
            ],
            options={
                "db_table": "user_ad_type",
                "abstract": False,
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("identifier__regex", "^[a-z0-9][a-z0-9-]*$")),
                        name="user_adtype_identifier",
                        violation_error_message="The identifier can contain lowercase letters, digits and hyphens only.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EmailStatus",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identifier", models.SlugField(max_length=40, unique=True)),
                ("title", models.CharField(max_length=80)),
                ("description", models.CharField(blank=True, max_length=255)),
            ],
            options={
                "verbose_name_plural": "email statuses",
                "db_table": "user_email_status",
                "abstract": False,
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("identifier__in", ["draft", "ready", "sent"])),
                        name="user_email_status_known",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EmailType",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("identifier", models.SlugField(max_length=40, unique=True)),
                ("title", models.CharField(max_length=80)),
                ("description", models.CharField(blank=True, max_length=255)),
            ],
            options={
                "db_table": "user_email_type",
                "abstract": False,
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("identifier__regex", "^[a-z0-9][a-z0-9-]*$")),
                        name="user_emailtype_identifier",
                        violation_error_message="The identifier can contain lowercase letters, digits and hyphens only.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Email",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.CharField(help_text="Identifies the mailing in links and reports.", max_length=40)),
                ("subject", models.CharField(max_length=200)),
                ("from_address", models.EmailField(max_length=254)),
                ("body_text", models.TextField()),
                ("body_html", models.TextField(blank=True)),
                (
                    "status",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="emails", to="user.emailstatus"
                    ),
                ),
                (
                    "type",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="emails", to="user.emailtype"
                    ),
                ),
            ],
            options={
                "ordering": ("code",),
            },
        ),
        migrations.CreateModel(
            name="Member",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("phone_number", models.CharField(blank=True, max_length=30)),
                ("newsletter_subscriber", models.BooleanField(default=False)),
                ("email_verified", models.BooleanField(default=False)),
                ("email_unsubscribed", models.BooleanField(default=False)),
                ("email_unsubscribe_token", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("stripe_customer_token", models.CharField(blank=True, max_length=255)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="member", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at", "-pk"),
            },
        ),
        migrations.CreateModel(
            name="DefaultShippingAddress",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120)),
                ("line1", models.CharField(max_length=200, verbose_name="address line 1")),
                ("line2", models.CharField(blank=True, max_length=200, verbose_name="address line 2")),
                ("city", models.CharField(max_length=100)),
                ("region", models.CharField(blank=True, max_length=100, verbose_name="state or region")),
                ("postal_code", models.CharField(blank=True, max_length=20)),
                (
                    "country",
                    models.CharField(
                        max_length=2,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Z]{2}$", "Enter a two-letter country code, such as US."
                            )
                        ],
                    ),
                ),
                (
                    "member",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="default_shipping_address",
                        to="user.member",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "default shipping addresses",
                "db_table": "user_default_shipping_address",
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Prospect",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("email", models.EmailField(max_length=254)),
                ("first_name", models.CharField(blank=True, max_length=60)),
                ("last_name", models.CharField(blank=True, max_length=60)),
                ("phone_number", models.CharField(blank=True, max_length=30)),
                ("comment", models.CharField(blank=True, max_length=255)),
                ("email_unsubscribed", models.BooleanField(default=False)),
                ("email_unsubscribe_token", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "converted_to",
                    models.OneToOneField(
                        blank=True,
                        help_text="The member account of this person.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="prospect",
                        to="user.member",
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at", "-pk"),
            },
        ),
        migrations.CreateModel(
            name="EmailUnsubscribeReason",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("no-longer-wanted", "No longer wants these emails"),
                            ("never-signed-up", "Never signed up"),
                            ("inappropriate", "The emails are inappropriate"),
                            ("spam", "The emails are spam"),
                            ("other", "Other"),
                        ],
                        max_length=20,
                    ),
                ),
                ("comment", models.CharField(blank=True, max_length=255)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "member",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="unsubscribe_reasons",
                        to="user.member",
                    ),
                ),
                (
                    "prospect",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="unsubscribe_reasons",
                        to="user.prospect",
                    ),
                ),
            ],
            options={
                "db_table": "user_email_unsubscribe_reasons",
                "ordering": ("-created_at", "-pk"),
            },
        ),
        migrations.CreateModel(
            name="EmailSent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("address", models.EmailField(max_length=254)),
                ("sent_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "email",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="deliveries", to="user.email"
                    ),
                ),
                (
                    "member",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="emails",
                        to="user.member",
                    ),
                ),
                (
                    "prospect",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="emails",
                        to="user.prospect",
                    ),
                ),
            ],
            options={
                "verbose_name": "sent email",
                "db_table": "user_email_sent",
                "ordering": ("-sent_at", "-pk"),
            },
        ),
        migrations.CreateModel(
            name="ChatMessage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(blank=True, max_length=120)),
                ("email", models.EmailField(blank=True, max_length=254)),
                ("message", models.TextField(max_length=5000)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("answered_at", models.DateTimeField(blank=True, null=True)),
                (
                    "member",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="chat_messages",
                        to="user.member",
                    ),
                ),
                (
                    "prospect",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="chat_messages",
                        to="user.prospect",
                    ),
                ),
            ],
            options={
                "db_table": "user_chat_message",
                "ordering": ("-created_at", "-pk"),
            },
        ),
        migrations.CreateModel(
            name="TermsOfUseVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.CharField(max_length=20)),
                ("note", models.CharField(blank=True, max_length=255)),
                ("published_at", models.DateTimeField(unique=True)),
            ],
            options={
                "verbose_name": "terms of use version",
                "db_table": "user_terms_of_use_version",
                "ordering": ("-published_at",),
                "constraints": [
                    models.UniqueConstraint(
                        django.db.models.functions.text.Lower("version"), name="user_terms_version_unique"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("version", ""), _negated=True), name="user_terms_has_version"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="MemberTermsOfUseVersionAgreed",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("agreed_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "member",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="agreements", to="user.member"
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="agreements",
                        to="user.termsofuseversion",
                    ),
                ),
            ],
            options={
                "verbose_name": "agreement to the terms of use",
                "verbose_name_plural": "agreements to the terms of use",
                "db_table": "user_member_terms_of_use_version_agreed",
            },
        ),
        migrations.AddField(
            model_name="member",
            name="terms_of_use_versions",
            field=models.ManyToManyField(
                related_name="members", through="user.MemberTermsOfUseVersionAgreed", to="user.termsofuseversion"
            ),
        ),
        migrations.CreateModel(
            name="Ad",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "code",
                    models.CharField(help_text="Identifies the advertisement in links and reports.", max_length=40),
                ),
                ("headline", models.CharField(max_length=120)),
                ("final_url", models.URLField()),
                ("starts_at", models.DateTimeField(blank=True, null=True)),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
                (
                    "status",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="ads", to="user.adstatus"
                    ),
                ),
                (
                    "type",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="ads", to="user.adtype"
                    ),
                ),
            ],
            options={
                "ordering": ("code",),
                "constraints": [
                    models.UniqueConstraint(django.db.models.functions.text.Lower("code"), name="user_ad_code_unique"),
                    models.CheckConstraint(condition=models.Q(("code", ""), _negated=True), name="user_ad_has_code"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ends_at__isnull", True),
                            ("starts_at__isnull", True),
                            ("ends_at__gt", models.F("starts_at")),
                            _connector="OR",
                        ),
                        name="user_ad_ends_after_start",
                        violation_error_message="“Ends at” must be after “starts at”.",
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="email",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("code"), name="user_email_code_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="email",
            constraint=models.CheckConstraint(
                condition=models.Q(("code", ""), _negated=True), name="user_email_has_code"
            ),
        ),
        migrations.AddConstraint(
            model_name="defaultshippingaddress",
            constraint=models.CheckConstraint(
                condition=models.Q(("country__regex", "^[A-Z]{2}$")), name="user_defaultshippingaddress_country"
            ),
        ),
        migrations.AddConstraint(
            model_name="defaultshippingaddress",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("name", ""), _negated=True),
                    models.Q(("line1", ""), _negated=True),
                    models.Q(("city", ""), _negated=True),
                ),
                name="user_defaultshippingaddress_complete",
            ),
        ),
        migrations.AddIndex(
            model_name="prospect",
            index=models.Index(fields=["-created_at"], name="user_prospect_created"),
        ),
        migrations.AddConstraint(
            model_name="prospect",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("email"), name="user_prospect_email_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="prospect",
            constraint=models.CheckConstraint(
                condition=models.Q(("email", ""), _negated=True), name="user_prospect_has_email"
            ),
        ),
        migrations.AddIndex(
            model_name="emailunsubscribereason",
            index=models.Index(fields=["-created_at"], name="user_unsubscribe_reason_at"),
        ),
        migrations.AddConstraint(
            model_name="emailunsubscribereason",
            constraint=models.CheckConstraint(
                condition=models.Q(("member__isnull", True), ("prospect__isnull", True), _connector="XOR"),
                name="user_unsubscribe_reason_one_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="emailunsubscribereason",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("reason__in", ["no-longer-wanted", "never-signed-up", "inappropriate", "spam", "other"])
                ),
                name="user_unsubscribe_reason_known",
            ),
        ),
        migrations.AddIndex(
            model_name="emailsent",
            index=models.Index(fields=["-sent_at"], name="user_email_sent_at"),
        ),
        migrations.AddConstraint(
            model_name="emailsent",
            constraint=models.CheckConstraint(
                condition=models.Q(("member__isnull", True), ("prospect__isnull", True), _connector="OR"),
                name="user_email_sent_one_person",
            ),
        ),
        migrations.AddIndex(
            model_name="chatmessage",
            index=models.Index(fields=["-created_at"], name="user_chat_message_created"),
        ),
        migrations.AddIndex(
            model_name="chatmessage",
            index=models.Index(
                condition=models.Q(("answered_at__isnull", True)),
                fields=["created_at"],
                name="user_chat_message_unanswered",
            ),
        ),
        migrations.AddConstraint(
            model_name="chatmessage",
            constraint=models.CheckConstraint(
                condition=models.Q(("message", ""), _negated=True), name="user_chat_message_not_empty"
            ),
        ),
        migrations.AddConstraint(
            model_name="chatmessage",
            constraint=models.CheckConstraint(
                condition=models.Q(("member__isnull", True), ("prospect__isnull", True), _connector="OR"),
                name="user_chat_message_one_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="chatmessage",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("answered_at__isnull", True), ("answered_at__gte", models.F("created_at")), _connector="OR"
                ),
                name="user_chat_message_answered_after",
            ),
        ),
        migrations.AddConstraint(
            model_name="membertermsofuseversionagreed",
            constraint=models.UniqueConstraint(fields=("member", "version"), name="user_agreement_unique"),
        ),
        migrations.AddIndex(
            model_name="member",
            index=models.Index(fields=["-created_at"], name="user_member_created"),
        ),
        migrations.AddConstraint(
            model_name="member",
            constraint=models.CheckConstraint(
                condition=models.Q(("email_unsubscribed", True), ("newsletter_subscriber", True), _negated=True),
                name="user_member_one_wish",
                violation_error_message="A member who unsubscribed cannot be a newsletter subscriber.",
            ),
        ),
        migrations.AddConstraint(
            model_name="member",
            constraint=models.UniqueConstraint(
                condition=models.Q(("stripe_customer_token", ""), _negated=True),
                fields=("stripe_customer_token",),
                name="user_member_stripe_customer_unique",
            ),
        ),
    ]
