package OmniRoute::Nginx;

# nginx with the configuration that is shipped (contrib/nginx/omniroute.conf), in front of a gateway. Only addresses are
# replaced; what else the file says is under test.

use strict;
use warnings;
use File::Temp;
use OmniRoute::Http;
use OmniRoute::Util qw(spawn reap wait_until slurp spew free_port);

my $program = '/usr/sbin/nginx';

sub available { -x $program }

sub start {
	my ($class, $gateway) = @_;
	for (1 .. 5) {
		my $self = bless { dir => File::Temp->newdir('omniroute-nginx.XXXXXX', TMPDIR => 1), port => free_port() }, $class;
		return $self if $self->_launch($gateway);
	}
	die "nginx does not start\n";
}

sub _launch {
	my ($self, $gateway) = @_;
	my $site = slurp("$OmniRoute::Util::root/contrib/nginx/omniroute.conf");
	$site =~ s/server 127\.0\.0\.1:20128;/"server 127.0.0.1:" . $gateway->port . ';'/e or die 'no upstream in the shipped file';
	$site =~ s/^\tlisten 80;$/\tlisten 127.0.0.1:$self->{port};/m or die 'no listen in the shipped file';
	$site =~ s/^\tlisten \[::\]:80;\n//m;
	my $dir = "$self->{dir}";
	my $temp = join '', map { "${_}_temp_path $dir/$_;\n" } qw(client_body proxy fastcgi uwsgi scgi);
	spew("$dir/site.conf", $site);
	spew("$dir/nginx.conf", "daemon off; worker_processes 2; pid $dir/pid; error_log $dir/error.log warn;\n"
		. "events { worker_connections 4096; }\nhttp {\naccess_log off;\n${temp}include $dir/site.conf;\n}\n");
	open my $err, '>', "$dir/stderr" or die;
	$self->{pid} = spawn([$program, '-e', "$dir/error.log", '-c', "$dir/nginx.conf"], err => $err, out => $err);
	my $up = 0;
	wait_until(20, sub {
		my $r = eval { OmniRoute::Http::request($self->{port}, GET => '/healthz', timeout => 2) };
		return $up = 1 if $r && $r->{status} == 200;
		my $ended = reap($self->{pid}, 0);
		return defined $ended;
	}, 'nginx');
	return $up;
}

sub port { $_[0]{port} }
sub url  { "http://127.0.0.1:$_[0]{port}" }

# What it logged: the shipped file must give no warning.
sub stop {
	my ($self) = @_;
	kill QUIT => $self->{pid};
	reap($self->{pid}, 20) // kill KILL => $self->{pid};
	return slurp("$self->{dir}/error.log") . slurp("$self->{dir}/stderr");
}

1;
