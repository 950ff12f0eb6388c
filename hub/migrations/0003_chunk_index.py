import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('hub', '0002_hub_protocol'),
    ]

    operations = [
        migrations.CreateModel(
            name='ChunkIndex',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('first', models.CharField(db_index=True, help_text='The hash of the first chunk.', max_length=64)),
                ('chunks', models.BinaryField(help_text='Hash and length of each chunk, 36 bytes for about 64 KiB.')),
                ('blob', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='hub.blob')),
            ],
        ),
    ]
